import type { Context } from 'mocha'
import { labFor } from '../../lab/for-tests.ts'
import type { Host } from '../../lab/host.ts'
import type { Lab } from '../../lab/lab.ts'
import { Peer } from '../../lab/peer.ts'
import { defaultRoute, forwarding, twoSites, type TwoSites } from '../../lab/topology.ts'

export interface ThreeSites {
  lab: Lab
  sites: TwoSites
  clientC: Host
  a: Peer
  b: Peer
  c: Peer
}

/**
 * The two sites and a third edge, which has a wire to each of the others and its own client; real agents on all three
 * edges, in no cluster yet.   client-c 10.3.0.2 ── edge-c ══ edge-a, edge-b.
 */
export async function threeSites(context: Context, prefix: string): Promise<ThreeSites> {
  const lab = await labFor(context, prefix)
  try {
    const sites = await twoSites(lab)
    const edgeC = await lab.host('edge-c')
    const clientC = await lab.host('client-c')
    await lab.wire(
      { host: edgeC, device: 'toa', addresses: ['10.9.1.3/24', 'fd00:9:1::3/64'] },
      { host: sites.edgeA, device: 'toc', addresses: ['10.9.1.1/24', 'fd00:9:1::1/64'] }
    )
    await lab.wire(
      { host: edgeC, device: 'tob', addresses: ['10.9.2.3/24', 'fd00:9:2::3/64'] },
      { host: sites.edgeB, device: 'toc', addresses: ['10.9.2.2/24', 'fd00:9:2::2/64'] }
    )
    await lab.wire(
      { host: edgeC, device: 'lan0', addresses: ['10.3.0.1/24', 'fd00:3::1/64'] },
      { host: clientC, device: 'eth0', addresses: ['10.3.0.2/24', 'fd00:3::2/64'] }
    )
    await forwarding(edgeC)
    await defaultRoute(clientC, '10.3.0.1', 'fd00:3::1')
    const [a, b, c] = [new Peer(sites.edgeA), new Peer(sites.edgeB), new Peer(edgeC)]
    await Promise.all([a.start(), b.start(), c.start()])
    return { lab, sites, clientC, a, b, c }
  } catch (error) {
    lab.close()
    throw error
  }
}
