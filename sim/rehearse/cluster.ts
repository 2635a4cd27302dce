import { readFile } from 'node:fs/promises'
import type { ActivityJson } from '../../src/actors/operator/activity.ts'
import type { ConnectionsJson } from '../../src/actors/operator/connections.ts'
import type { ActorDetailJson } from '../../src/actors/operator/actor-json.ts'
import type { PeerJson, RouteJson, ServiceJson } from '../../src/actors/operator/operator.ts'
import type { Client } from '../../src/api/cli/client.ts'
import { Failure, usageFailure } from '../../src/api/cli/failure.ts'
import type { Current } from '../../src/api/declare/mesh-file.ts'
import { parseAddress, parsePrefix } from '../../src/dataplane/prefix.ts'
import { writeTo } from '../write-to.ts'

/** A cluster as an operator can see it by the API: what a rehearsal begins with. */
export interface LiveCluster extends Current {
  services: ServiceJson[]
  routes: RouteJson[]
  peers: PeerJson[]
  /** Of the members that could be asked, by id: what a route to everywhere leaves alone there. */
  hosts: Record<string, HostView>
  /** What goes through its members' hosts, and the TCP flows that they have on record: open ones, and those that ended last. */
  records?: unknown[]
  /** Ids of members that answer, but do not tell what goes through their hosts, or not all of it. */
  untold?: string[]
}

/** A host's addresses and attached networks, as text; `whole` unless some were left out. */
export interface HostView {
  addresses: string[]
  networks: string[]
  whole: boolean
}

export async function readLive(client: Client): Promise<LiveCluster> {
  const [services, routes, peers] = await Promise.all([
    client.list<ServiceJson>('/v1/services'),
    client.list<RouteJson>('/v1/routes'),
    client.list<PeerJson>('/v1/peers', { query: { all: true } })
  ])
  const members = peers.filter(({ state, reachable }) => state === 'admitted' && reachable)
  const hosts: LiveCluster['hosts'] = {}
  for (const { id } of members) {
    const host = await hostOf(client, id)
    if (host != null) hosts[id] = host
  }
  return { services, routes, peers, hosts }
}

/** What the members that answer have on record, as `arctic top` shows it, and what goes through their hosts. */
export async function readRecords(
  client: Client,
  { peers }: LiveCluster
): Promise<{ records: unknown[]; untold: string[] }> {
  const records: unknown[] = []
  const untold: string[] = []
  for (const { id, state, reachable } of peers) {
    if (state !== 'admitted' || !reachable) continue
    try {
      const { flows } = await client.get<ActivityJson>('/v1/activity', { query: { peer: id } })
      records.push(...flows)
    } catch (error) {
      // One that has gone since has nothing to tell; one that must not be asked is the operator's to know.
      if (!(error instanceof Failure) || error.code === 'forbidden') throw error
    }
    try {
      const { connections, more } = await client.get<ConnectionsJson>('/v1/connections', { query: { peer: id } })
      for (const { source, dest } of connections) records.push({ peer: id, source, dest })
      if (more) untold.push(id)
    } catch (error) {
      if (!(error instanceof Failure)) throw error
      untold.push(id)
    }
  }
  return { records, untold }
}

/** As its netmgr actor shows it; null of one that does not answer, or whose version does not say. */
async function hostOf(client: Client, peer: string): Promise<HostView | null> {
  try {
    const { context } = await client.get<ActorDetailJson>('/v1/actors/netmgr', { query: { peer } })
    const { addresses, networks } = (context['host'] ?? {}) as { addresses?: unknown; networks?: unknown }
    if (!Array.isArray(addresses) || !Array.isArray(networks)) return null
    const good = {
      addresses: addresses.filter((one) => parseAddress(String(one)) != null).map(String),
      networks: networks.filter((one) => parsePrefix(String(one)) != null).map(String)
    }
    // A long list ends with a word about the rest.
    const whole = good.addresses.length === addresses.length && good.networks.length === networks.length
    return { ...good, whole }
  } catch (error) {
    if (error instanceof Failure) return null
    throw error
  }
}

/** What `--save` wrote. */
export async function readSaved(path: string): Promise<LiveCluster> {
  let saved: unknown
  try {
    saved = JSON.parse(await readFile(path, 'utf8'))
  } catch (error) {
    throw usageFailure(`${path} cannot be read: ${(error as Error).message.split('\n')[0]}`, 'sim rehearse')
  }
  const { services, routes, peers, hosts = {}, records, untold } = (saved ?? {}) as Partial<LiveCluster>
  if (!Array.isArray(services) || !Array.isArray(routes) || !Array.isArray(peers))
    throw usageFailure(`${path} is no saved cluster; "arctic sim rehearse --save FILE" writes one`, 'sim rehearse')
  const told = Array.isArray(records) ? { records, untold: Array.isArray(untold) ? untold : [] } : {}
  return { services, routes, peers, hosts, ...told }
}

export const save = (path: string, cluster: LiveCluster): Promise<void> =>
  writeTo(path, `${JSON.stringify(cluster, null, 2)}\n`, 'sim rehearse')
