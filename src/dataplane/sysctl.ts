import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import type { Forwarding } from './warnings.ts'

/** Reads and writes below `/proc/sys/net`, which is always that of the process' own network namespace. */
export interface Sysctl {
  /** Null when the kernel does not know it. */
  read(path: string): Promise<string | null>
  /** Writes only what differs; answers whether it did. */
  set(path: string, value: string): Promise<boolean>
}

const fileOf = (path: string): string => `/proc/sys/net/${path}`

export const sysctl: Sysctl = {
  read: async (path) => {
    try {
      // The kernel answers out of memory: a turn of the thread pool costs a hundred times as much.
      return readFileSync(fileOf(path), 'utf8').trim()
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
      throw error
    }
  },
  set: async (path, value) => {
    const now = await sysctl.read(path)
    if (now == null || now === value) return false
    await writeFile(fileOf(path), value)
    return true
  }
}

/**
 * What our own devices need, by device name. `conf.all.*` is never written: it belongs to the host. Reverse-path
 * filtering is loose at most, because replies come by another way than the main table knows; the kernel takes the greater of
 * `all` and the device's value, so where `all` is strict the host's owner has decided. A device of ours answers ARP for its
 * own addresses only: whoever learned its MAC for another of the host's would have all traffic carried. It says of its own
 * addresses when it has new ones (`announceCommands`).
 */
export function deviceSysctls(
  device: string,
  allRpFilter: string | null,
  ipv6: boolean
): [path: string, value: string][] {
  const v4: [string, string][] = [
    [`ipv4/conf/${device}/rp_filter`, allRpFilter === '0' ? '0' : '2'],
    [`ipv4/conf/${device}/forwarding`, '1'],
    [`ipv4/conf/${device}/arp_ignore`, '1'],
    [`ipv4/conf/${device}/arp_announce`, '2'],
    [`ipv4/conf/${device}/arp_notify`, '1'],
    [`ipv4/conf/${device}/send_redirects`, '0'],
    [`ipv4/conf/${device}/accept_redirects`, '0']
  ]
  const v6: [string, string][] = [
    [`ipv6/conf/${device}/disable_ipv6`, '0'],
    [`ipv6/conf/${device}/accept_ra`, '0'],
    [`ipv6/conf/${device}/accept_redirects`, '0'],
    [`ipv6/conf/${device}/ndisc_notify`, '1'],
    [`ipv6/conf/${device}/forwarding`, '1']
  ]
  return ipv6 ? [...v4, ...v6] : v4
}

/** Whether this host speaks IPv6 at all; where it is switched off we leave it off. */
export async function speaksIpv6(net: Sysctl): Promise<boolean> {
  return (await net.read('ipv6/conf/all/disable_ipv6')) === '0' && (await net.read('ipv6/conf/lo/disable_ipv6')) === '0'
}

/** Which of the host's interfaces forward. */
export async function readForwarding(devices: readonly string[]): Promise<Forwarding> {
  const ipv4 = new Set<string>()
  for (const device of devices) if ((await sysctl.read(`ipv4/conf/${device}/forwarding`)) === '1') ipv4.add(device)
  const all = await sysctl.read('ipv6/conf/all/forwarding')
  return { ipv4, ipv6: all == null || !(await speaksIpv6(sysctl)) ? null : all === '1' }
}
