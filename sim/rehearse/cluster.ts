import { readFile, writeFile } from 'node:fs/promises'
import type { PeerJson, RouteJson, ServiceJson } from '../../src/actors/operator/operator.ts'
import type { Client } from '../../src/api/cli/client.ts'
import { usageFailure } from '../../src/api/cli/failure.ts'
import type { Current } from '../../src/api/declare/mesh-file.ts'

/** A cluster as an operator can see it by the API: what a rehearsal begins with. */
export interface LiveCluster extends Current {
  services: ServiceJson[]
  routes: RouteJson[]
  peers: PeerJson[]
}

export async function readLive(client: Client): Promise<LiveCluster> {
  const [services, routes, peers] = await Promise.all([
    client.list<ServiceJson>('/v1/services'),
    client.list<RouteJson>('/v1/routes'),
    client.list<PeerJson>('/v1/peers', { query: { all: true } })
  ])
  return { services, routes, peers }
}

/** What `--save` wrote. */
export async function readSaved(path: string): Promise<LiveCluster> {
  let saved: unknown
  try {
    saved = JSON.parse(await readFile(path, 'utf8'))
  } catch (error) {
    throw usageFailure(`${path} cannot be read: ${(error as Error).message.split('\n')[0]}`, 'sim rehearse')
  }
  const { services, routes, peers } = (saved ?? {}) as Partial<LiveCluster>
  if (!Array.isArray(services) || !Array.isArray(routes) || !Array.isArray(peers))
    throw usageFailure(`${path} is no saved cluster; "arctic sim rehearse --save FILE" writes one`, 'sim rehearse')
  return { services, routes, peers }
}

export const save = (path: string, cluster: LiveCluster): Promise<void> =>
  writeFile(path, `${JSON.stringify(cluster, null, 2)}\n`)
