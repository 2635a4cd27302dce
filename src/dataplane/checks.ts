import { open, readFile } from 'node:fs/promises'
import { UnavailableError } from '../errors.ts'
import { ProgramFailedError, ProgramMissingError, run } from './exec.ts'
import { ip } from './ip.ts'
import { nft } from './nft.ts'

const CAP_NET_ADMIN = 12
const INSTEAD = 'or start with --dataplane none for the control plane alone'

/** Something of the host that the data plane stands on. */
export interface Feature {
  /** For `doctor`. */
  name: string
  /** Tries it for real; null when it is there. */
  missing: () => Promise<Missing | null>
}

export interface Missing {
  /** CamelCase. */
  reason: 'MissingCapability' | 'ProgramMissing' | 'KernelFeatureMissing'
  found: string
  mend: string
}

/**
 * What the kernel data plane cannot do without; the first that is missing is named.
 *
 * @throws {UnavailableError} with the reason in `details.reason`
 */
export async function checkHost(): Promise<void> {
  if ((await capability.missing()) == null && (await hasAll())) return
  for (const { missing } of FEATURES) {
    const lack = await missing()
    if (lack == null) continue
    const { reason, found, mend } = lack
    throw new UnavailableError(`the kernel data plane cannot start: ${found}; ${mend}, ${INSTEAD}`, { reason })
  }
}

export const capability: Feature = {
  name: 'capability CAP_NET_ADMIN',
  missing: async () => {
    const status = await readFile('/proc/self/status', 'utf8')
    const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)/m.exec(status)?.[1] ?? '0'}`)
    if ((effective & (1n << BigInt(CAP_NET_ADMIN))) !== 0n) return null
    return {
      reason: 'MissingCapability',
      found: 'the capability CAP_NET_ADMIN is missing',
      mend: 'run the agent as root or give it that capability'
    }
  }
}

export const programs: readonly Feature[] = (
  [
    ['nft', 'nftables'],
    ['ip', 'iproute2'],
    ['setpriv', 'util-linux']
  ] as const
).map(([program, debian]) => ({
  name: `program ${program}`,
  missing: async () => {
    try {
      await run(program, ['-V'])
      return null
    } catch (error) {
      if (!(error instanceof ProgramMissingError)) throw error
      return { reason: 'ProgramMissing', found: error.message, mend: `install it (Debian: apt install ${debian})` }
    }
  }
}))

/** One look at all of it, since nearly always nothing is missing: each by itself is a process of its own. */
async function hasAll(): Promise<boolean> {
  const chains = EXPRESSIONS.map(([, rule, hook], i) => probeChain(`probe${i}`, rule, hook))
  const looks = await Promise.allSettled([nft.check(probeTable(chains)), makeTun()])
  return looks.every(({ status }) => status === 'fulfilled')
}

/** Each expression the ruleset is made of. */
const EXPRESSIONS = [
  ['nftables', 'accept', 'filter hook prerouting priority mangle'],
  [
    'nftables TPROXY (nft_tproxy)',
    'meta l4proto tcp meta nfproto ipv4 tproxy ip to 127.0.0.1:1',
    'filter hook prerouting priority mangle'
  ],
  [
    'nftables socket matching (nft_socket)',
    'socket transparent 1 socket wildcard 0 accept',
    'filter hook prerouting priority mangle'
  ],
  ['nftables fib lookups (nft_fib_inet)', 'fib daddr type local accept', 'filter hook prerouting priority mangle'],
  ['nftables reject (nft_reject_inet)', 'meta l4proto tcp reject with tcp reset', 'filter hook input priority filter'],
  ['conntrack zones (nft_ct)', 'ct original zone set 1', 'filter hook prerouting priority raw'],
  ['masquerading (nft_masq)', 'masquerade', 'nat hook postrouting priority srcnat']
] as const

const probeTable = (chains: readonly string[]): string => `table inet arctic_probe {\n${chains.join('')}}\n`
const probeChain = (name: string, rule: string, hook: string): string =>
  ` chain ${name} {\n type ${hook}; policy accept;\n ${rule}\n}\n`

/** The kernel is asked without committing anything. */
const nftables: readonly Feature[] = EXPRESSIONS.map(([name, rule, hook]) => ({
  name,
  missing: async () => {
    try {
      await nft.check(probeTable([probeChain('probe', rule, hook)]))
      return null
    } catch (error) {
      if (!(error instanceof ProgramFailedError)) throw error
      return {
        reason: 'KernelFeatureMissing',
        found: `the kernel has no ${name}: ${error.message}`,
        mend: 'load or build that module'
      }
    }
  }
}))

/** Makes and removes a TUN device under a name of its own. */
const tun: Feature = {
  name: 'TUN devices',
  missing: async () => {
    try {
      await makeTun()
      return null
    } catch (error) {
      const said = error instanceof Error ? error.message : String(error)
      return {
        reason: 'KernelFeatureMissing',
        found: `TUN devices cannot be made: ${said}`,
        mend: 'load the tun module and make /dev/net/tun accessible'
      }
    }
  }
}

/** Of this process alone. */
const probeDevice = (): string => `arct-p${process.pid.toString(36)}`

async function makeTun(): Promise<void> {
  await (await open('/dev/net/tun', 'r+')).close()
  const name = probeDevice()
  await ip.batch(null, [`tuntap add dev ${name} mode tun vnet_hdr`, `link delete dev ${name}`])
}

/** Only services with a device of their own need it. Loopback cannot carry one, and what the kernel says tells why. */
export const macvlan: Feature = {
  name: 'MACVLAN devices',
  missing: async () => {
    const name = probeDevice()
    const { stderr } = await run('ip', ['link', 'add', 'link', 'lo', 'name', name, 'type', 'macvlan'])
    if (!/Unknown device type|Operation not supported/.test(stderr)) return null
    return {
      reason: 'KernelFeatureMissing',
      found: 'the kernel has no MACVLAN, so services with a device of their own cannot work here',
      mend: 'load or build the module macvlan'
    }
  }
}

/** In the order in which each needs the one before it. */
export const needed: readonly Feature[] = [...nftables, tun]

const FEATURES: readonly Feature[] = [capability, ...programs, ...needed]
