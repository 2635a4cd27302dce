import type { Context } from 'mocha'
import type { ServiceJson } from '../../src/actors/operator/operator.ts'
import { labFor } from '../../lab/for-tests.ts'
import type { Lab } from '../../lab/lab.ts'
import { cluster, Peer, type PeerOptions } from '../../lab/peer.ts'
import { SERVER_NET, twoSites, type TwoSites } from '../../lab/topology.ts'

export interface Mesh {
  lab: Lab
  sites: TwoSites
  a: Peer
  b: Peer
  service: ServiceJson
}

/** Two sites with real agents in one cluster. */
export async function meshOf(context: Context, prefix: string, options?: PeerOptions): Promise<Omit<Mesh, 'service'>> {
  const lab = await labFor(context, prefix)
  try {
    const sites = await twoSites(lab)
    const a = new Peer(sites.edgeA, options)
    const b = new Peer(sites.edgeB, options)
    await Promise.all([a.start(), b.start()])
    await cluster(a, b)
    return { lab, sites, a, b }
  } catch (error) {
    lab.close()
    throw error
  }
}

/** The same, with a service from edge-a to edge-b whose routes cover the server's networks, in force. */
export async function carryingMeshOf(context: Context, prefix: string, options?: PeerOptions): Promise<Mesh> {
  const mesh = await meshOf(context, prefix, options)
  try {
    return { ...mesh, service: await serveSites(mesh) }
  } catch (error) {
    mesh.lab.close()
    throw error
  }
}

export async function serveSites({ a, b }: Pick<Mesh, 'a' | 'b'>): Promise<ServiceJson> {
  const routes = Object.values(SERVER_NET).map((net) => ['--dest-cidr', net])
  const service = await a.connect({ source: 'edge-a', target: 'edge-b', routes })
  await Promise.all([a.active(service.id), b.active(service.id)])
  return service
}

export const MIB = 1024 * 1024
