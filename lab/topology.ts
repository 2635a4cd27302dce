import type { Host } from './host.ts'
import type { BadWire } from './bad-wire.ts'
import type { End, Lab } from './lab.ts'

/**
 * ```
 * client 10.1.0.2 ── 10.1.0.1 edge-a 10.9.0.1 ══ wire ══ 10.9.0.2 edge-b 10.2.0.1 ── server 10.2.0.2
 *        fd00:1::2   fd00:1::1        fd00:9::1           fd00:9::2        fd00:2::1         fd00:2::2
 *        eth0        lan0             wire0               wire0            lan0              eth0
 * ```
 * The client's and the server's default routes go through their edge. The edges forward, but neither knows the network
 * behind the other: without the product nothing passes.
 */
export interface TwoSites {
  client: Host
  edgeA: Host
  edgeB: Host
  server: Host
}

export const CLIENT = { v4: '10.1.0.2', v6: 'fd00:1::2' }
export const EDGE_A = { lan4: '10.1.0.1', lan6: 'fd00:1::1', wire4: '10.9.0.1', wire6: 'fd00:9::1' }
export const EDGE_B = { lan4: '10.2.0.1', lan6: 'fd00:2::1', wire4: '10.9.0.2', wire6: 'fd00:9::2' }
export const SERVER = { v4: '10.2.0.2', v6: 'fd00:2::2' }
export const SERVER_NET = { v4: '10.2.0.0/24', v6: 'fd00:2::/64' }

export const twoSites = (lab: Lab): Promise<TwoSites> => sites(lab, (a, b) => lab.wire(a, b))

/** The same two sites with a wire between the edges that can be made bad: `a` of the wire is edge-a. */
export async function badSites(lab: Lab, seed: number): Promise<TwoSites & { wire: BadWire }> {
  let wire: BadWire | undefined
  const made = await sites(lab, async (a, b) => {
    wire = await lab.badWire(a, b, seed)
  })
  if (wire == null) throw new Error('no wire was made')
  return { ...made, wire }
}

async function sites(lab: Lab, join: (a: End, b: End) => Promise<void>): Promise<TwoSites> {
  const client = await lab.host('client')
  const edgeA = await lab.host('edge-a')
  const edgeB = await lab.host('edge-b')
  const server = await lab.host('server')
  await lab.wire(
    { host: client, device: 'eth0', addresses: [`${CLIENT.v4}/24`, `${CLIENT.v6}/64`] },
    { host: edgeA, device: 'lan0', addresses: [`${EDGE_A.lan4}/24`, `${EDGE_A.lan6}/64`] }
  )
  await join(
    { host: edgeA, device: 'wire0', addresses: [`${EDGE_A.wire4}/24`, `${EDGE_A.wire6}/64`] },
    { host: edgeB, device: 'wire0', addresses: [`${EDGE_B.wire4}/24`, `${EDGE_B.wire6}/64`] }
  )
  await lab.wire(
    { host: edgeB, device: 'lan0', addresses: [`${EDGE_B.lan4}/24`, `${EDGE_B.lan6}/64`] },
    { host: server, device: 'eth0', addresses: [`${SERVER.v4}/24`, `${SERVER.v6}/64`] }
  )
  for (const edge of [edgeA, edgeB]) await forwarding(edge)
  await defaultRoute(client, EDGE_A.lan4, EDGE_A.lan6)
  await defaultRoute(server, EDGE_B.lan4, EDGE_B.lan6)
  return { client, edgeA, edgeB, server }
}

/** Makes a router of a host, as its operator has to before the product comes. */
export const forwarding = (host: Host): Promise<void> =>
  host.sysctl({ 'net.ipv4.ip_forward': 1, 'net.ipv6.conf.all.forwarding': 1 })

export const defaultRoute = (host: Host, via4: string, via6: string): Promise<void> =>
  host.ip([`route add default via ${via4}`, `route add default via ${via6}`])
