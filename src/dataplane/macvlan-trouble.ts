import { access, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { AppliedFailure } from './desired.ts'
import type { WantedDevice } from './devices.ts'

/** Machines of these makers are guests whose network drops frames of MAC addresses it has not given out itself. */
const CLOUDS: [maker: RegExp, name: string][] = [
  [/^Amazon EC2/, 'Amazon EC2'],
  [/^Google/, 'Google Compute Engine'],
  [/^Microsoft Corporation/, 'Azure and Hyper-V (unless MAC address spoofing is allowed there)'],
  [/^DigitalOcean/, 'DigitalOcean'],
  [/^Hetzner/, 'Hetzner Cloud'],
  [/^OpenStack|^OVHcloud/, 'OpenStack (unless port security is off)']
]

/** The parents on which MACVLAN devices will probably see nothing. */
export async function troublesOf(devices: readonly WantedDevice[]): Promise<Map<string, AppliedFailure>> {
  const parents = new Set(devices.flatMap((device) => (device.kind === 'macvlan' ? [device.parent] : [])))
  const found = new Map<string, AppliedFailure>()
  for (const parent of parents) {
    const trouble = await macvlanTrouble(parent)
    if (trouble != null) found.set(parent, trouble)
  }
  return found
}

/**
 * Why a MACVLAN device on this interface will probably see no frames although the kernel makes it, or null. What is known
 * only from outside this host cannot be told from within: this goes by what the host says it is.
 */
export async function macvlanTrouble(parent: string, sys = '/sys'): Promise<AppliedFailure | null> {
  const said = (what: string, why: string): AppliedFailure => ({
    reason: 'MacvlanFramesDropped',
    message: `the device stands on ${parent}, ${what}, and ${why} drops frames of a MAC address it does not know: nothing will come in by it; programs of this host that use its address are carried all the same`
  })
  if (await exists(join(sys, 'class/net', parent, 'phy80211'))) return said('a Wi-Fi interface', 'the access point')
  const maker = await readFile(join(sys, 'class/dmi/id/sys_vendor'), 'utf8').catch(() => '')
  const cloud = CLOUDS.find(([pattern]) => pattern.test(maker.trim()))
  return cloud == null ? null : said('in a cloud', cloud[1])
}

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false
  )
