import { badSites, twoSites, type TwoSites } from '../lab/topology.ts'
import type { BadWire } from '../lab/bad-wire.ts'
import type { Lab } from '../lab/lab.ts'

/**
 * The two sites of the lab, and more addresses on the server, one for each way that a packet can be told to go:
 *
 *   10.2.0.2  through the mesh     10.4.0.2  plain routing, no tunnel
 *   10.5.0.2  wireguard-go         10.6.0.2  Tempest alone, without the mesh
 */
export const MESH = '10.2.0.2'
export const PLAIN = '10.4.0.2'
export const wireguardAddress = (n: number): string => `10.5.${n}.2`
export const TEMPEST = '10.6.0.2'

/** The one that every kernel lets a namespace choose. */
const CONGESTION_CONTROL = 'reno'

export async function benchSites(lab: Lab): Promise<TwoSites> {
  return await prepared(await twoSites(lab))
}

/** The same with a wire between the edges that can be made bad. */
export async function badBenchSites(lab: Lab, seed: number): Promise<TwoSites & { wire: BadWire }> {
  const { wire, ...sites } = await badSites(lab, seed)
  return { ...(await prepared(sites)), wire }
}

async function prepared(sites: TwoSites): Promise<TwoSites> {
  for (const host of Object.values(sites)) {
    // Tens of thousands of short connections: enough ports, and none that waits a minute for its next use.
    await host.sysctl({
      // Said, not left to what the machine happens to have as its default.
      'net.ipv4.tcp_congestion_control': CONGESTION_CONTROL,
      'net.ipv4.ip_local_port_range': '2000 65000',
      'net.ipv4.tcp_tw_reuse': 1,
      'net.ipv4.tcp_max_syn_backlog': 65_535,
      'net.core.somaxconn': 65_535
    })
  }
  await addServerAddress(sites, PLAIN)
  await sites.edgeA.ip([`route add ${PLAIN}/32 via 10.9.0.2`])
  // What comes back to the client without a tunnel; with one it goes back by the tunnel, or to edge-b's own address.
  await sites.edgeB.ip(['route add 10.1.0.0/24 via 10.9.0.1'])
  return sites
}

export async function addServerAddress({ server, edgeB }: TwoSites, address: string): Promise<void> {
  await server.ip([`addr add ${address}/32 dev lo`])
  await edgeB.ip([`route add ${address}/32 via 10.2.0.2`])
}
