import { type Check, fail, ok, warn } from './check.ts'

/** Decisions on figures of the host; pure. */

/** `devices`: `net.ipv4.conf.DEVICE.rp_filter` by device, `all` among them; ours left out. */
export function reversePath(devices: ReadonlyMap<string, string>): Check {
  const name = 'reverse-path filter'
  const strict = [...devices].filter(([, value]) => value === '1').map(([device]) => device)
  if (strict.length === 0) return ok(name, 'not strict anywhere')
  const mend = strict.map((device) => `sysctl -w net.ipv4.conf.${device}.rp_filter=2`).join('; ')
  if (strict.includes('all')) {
    return warn(
      name,
      'net.ipv4.conf.all.rp_filter is 1 (strict): replies of what is not TCP are dropped on a source host that has no other route to where they come from',
      `${mend}; or give the host a route to the destinations`
    )
  }
  return warn(
    name,
    `strict on ${strict.join(', ')}: a packet that comes in by another way than its answer would leave is dropped there`,
    mend
  )
}

/** `ipv6` null: the host does not speak it. */
export function forwarding(ipv4: string | null, ipv6: string | null): Check {
  const name = 'forwarding'
  const off = [
    ...(ipv4 === '1' ? [] : ['net.ipv4.ip_forward']),
    ...(ipv6 == null || ipv6 === '1' ? [] : ['net.ipv6.conf.all.forwarding'])
  ]
  if (off.length === 0) return ok(name, 'this host forwards')
  return warn(
    name,
    `${off.join(' and ')} is 0: of other hosts' traffic only TCP is carried`,
    `${off.map((path) => `sysctl -w ${path}=1`).join('; ')}, if this host forwards for others`
  )
}

const MIB = 1024 * 1024
/** Below it the log cannot take the next changes; and below the other one soon. */
const freeBytesMin = 16 * MIB
const freeBytesLow = 256 * MIB

export function stateDirectory(path: string, state: { error: string } | { freeBytes: number }): Check {
  const name = 'state directory'
  if ('error' in state) {
    return fail(
      name,
      `${path} cannot be used (${state.error})`,
      'make it writable for the agent, or choose another one with --state-dir'
    )
  }
  const free = `${Math.floor(state.freeBytes / MIB)} MiB free at ${path}`
  if (state.freeBytes < freeBytesMin) return fail(name, free, 'make room: changes are refused when the disk is full')
  if (state.freeBytes < freeBytesLow) return warn(name, free, 'make room before changes are refused')
  return ok(name, free)
}

/** An interception, a carrier and a few dozen of the agent's own: two descriptors per flow on either side. */
const filesLow = 16_384

/** `limits`: the text of `/proc/PID/limits`. */
export function openFiles(limits: string): Check {
  const name = 'open files'
  const hard = /^Max open files\s+\S+\s+(\S+)/m.exec(limits)?.[1] ?? 'unlimited'
  const files = hard === 'unlimited' ? Infinity : Number(hard)
  if (files >= filesLow) return ok(name, `up to ${hard}`)
  return warn(
    name,
    `up to ${hard}: enough for some ${Math.floor(files / 2)} TCP flows`,
    `LimitNOFILE=1048576 in the unit, or ulimit -n`
  )
}
