import type { Host } from './host.ts'
import type { Lab } from './lab.ts'

/**
 * Five hosts on two switches that a trunk joins; without the trunk it is three here and two there, and no host sees
 * a carrier go.
 *
 * ```
 *   n1 n2 n3 ── left ══ trunk ══ right ── n4 n5          10.7.0.1 … 10.7.0.5
 * ```
 */
export interface FiveHosts {
  hosts: readonly Host[]
  /** Of those, by side of the trunk. */
  left: readonly Host[]
  right: readonly Host[]
  part: () => Promise<void>
  heal: () => Promise<void>
}

export const addressOf = (n: number): string => `10.7.0.${n}`

export async function fiveHosts(lab: Lab): Promise<FiveHosts> {
  const left = await aSwitch(lab, 'left')
  const right = await aSwitch(lab, 'right')
  await lab.wire({ host: left, device: 'trunk', addresses: [] }, { host: right, device: 'trunk', addresses: [] })
  const hosts: Host[] = []
  for (let n = 1; n <= 5; n++) {
    const host = await lab.host(`n${n}`)
    const to = n <= 3 ? left : right
    await lab.wire(
      { host, device: 'eth0', addresses: [`${addressOf(n)}/24`] },
      { host: to, device: `p${n}`, addresses: [] }
    )
    await to.ip([`link set p${n} master br0`])
    hosts.push(host)
  }
  for (const host of [left, right]) await host.ip(['link set trunk master br0'])
  // Taken out of the switch rather than down: a link that comes up is noticed by its kernel after up to a second.
  const trunk = (how: 'master br0' | 'nomaster'): Promise<void> => left.ip([`link set trunk ${how}`])
  return {
    hosts,
    left: hosts.slice(0, 3),
    right: hosts.slice(3),
    part: () => trunk('nomaster'),
    heal: () => trunk('master br0')
  }
}

async function aSwitch(lab: Lab, name: string): Promise<Host> {
  const host = await lab.host(name)
  await host.ip(['link add br0 type bridge', 'link set br0 up'])
  return host
}
