import { carryOut } from '../../src/api/declare/carry-out.ts'
import { exportMesh } from '../../src/api/declare/export.ts'
import type { Change, Current, MeshFile } from '../../src/api/declare/mesh-file.ts'
import { planMesh } from '../../src/api/declare/plan.ts'
import { ArcticError } from '../../src/errors.ts'
import { serviceDeviceName } from '../../src/dataplane/devices.ts'
import type { HostNetworks } from '../../src/dataplane/never-taken.ts'
import { parseAddress, parsePrefix } from '../../src/dataplane/prefix.ts'
import { parsePacket } from '../../src/dataplane/route-table.ts'
import { agreement } from '../checkers/agreement.ts'
import type { SimHost } from '../host/host.ts'
import { rehearsedPeersMax, settleMaxMs } from '../limits.ts'
import { wholeOperatorOf, World, type Violation } from '../world.ts'
import type { HostView, LiveCluster } from './cluster.ts'
import type { Flow } from './flows.ts'

/** What becomes of a flow: carried by a service to a peer, both by name; refused, or left alone. */
export interface Fate {
  fate: 'carried' | 'refused' | 'untouched'
  service: string | null
  target: string | null
}

export interface Moved extends Omit<Flow, 'service'> {
  before: Fate
  after: Fate
}

export interface Rehearsal {
  changes: Change[]
  flows: number
  same: number
  /** Carried before and after, by another service or to another peer. */
  moved: Moved[]
  /** Carried before, and not any more; or not refused before, and now. */
  dropped: Moved[]
  /** Not carried before, and now. */
  appeared: Moved[]
  /** Flows whose record names another service than the state explains: the two are not of one time. */
  unexplained: number
  /** Members whose networks are not known, or not all of them: a route to everywhere may seem to take more there. */
  networks_unknown: string[]
  /** Members of which it is not known, or not wholly, what goes through their hosts, where that was asked for. */
  connections_unknown: string[]
  /** Members that are not reachable now: what would be carried to them is refused as long as they are not. */
  unreachable: string[]
  violations: Violation[]
}

/**
 * A change, played before it is made:
 *
 * 1. As many simulated hosts as the cluster has members found a cluster; operators make its services and routes there.
 * 2. The recorded flows are led through the hosts' kernels.
 * 3. The change is planned and carried out as `arctic apply` does it, and all come to rest.
 * 4. The flows are led through once more; what differs is the answer.
 *
 * Rejects with the ArcticError that `arctic apply` would end with.
 */
export function rehearse(
  cluster: LiveCluster,
  change: MeshFile,
  flows: readonly Flow[],
  { prune = false } = {}
): Promise<Rehearsal> {
  const world = new World('rehearsal')
  return world.scheduler.run(play(world, cluster, change, flows, prune))
}

async function play(
  world: World,
  cluster: LiveCluster,
  change: MeshFile,
  flows: readonly Flow[],
  prune: boolean
): Promise<Rehearsal> {
  const members = cluster.peers.filter(({ state }) => state === 'admitted')
  if (members.length > rehearsedPeersMax)
    throw new ArcticError(
      'invalid_request',
      `a rehearsal takes up to ${rehearsedPeersMax} members, not ${members.length}`
    )
  // Planned on what there is first: what cannot be applied there must not be reported in the simulation's words.
  const changes = planMesh(change, cluster, { prune })
  const hosts = await found(world, cluster, members)
  const operator = wholeOperatorOf(world.hosts[0] as SimHost)
  const current = async (): Promise<Current> => ({
    services: await operator.listServices({}),
    routes: await operator.listRoutes(),
    peers: await operator.listPeers({ all: true })
  })
  const simulated = renamed(hosts)
  const lived = cluster.services.filter(({ source_peer_id, target_peer_id }) =>
    [source_peer_id, target_peer_id].every((id) => hosts.has(id))
  )
  const base = exportMesh({ ...cluster, services: lived })
  await carryOut(operator, planMesh(simulated(base, cluster), await current()))
  await rest(world)
  const fate = fateOf(hosts, cluster)
  const before = flows.map(fate)
  await carryOut(operator, planMesh(simulated(change, cluster), await current(), { prune }))
  await rest(world)
  const after = flows.map(fate)
  agreement.atRest?.(world)
  await Promise.all(world.hosts.map((host) => host.stop('remove')))
  const named = (some: LiveCluster['peers']): string[] => some.map(({ id, name }) => name ?? id)
  return {
    changes,
    ...compare(cluster, flows, before, after),
    networks_unknown: named(members.filter(({ id }) => cluster.hosts[id]?.whole !== true)),
    connections_unknown: named(members.filter(({ id }) => cluster.untold?.includes(id) === true)),
    unreachable: named(members.filter(isAway)),
    violations: world.violations
  }
}

/** All members, by the id that they have in the cluster; every one is an admin, as roles do not steer. */
async function found(
  world: World,
  { peers, hosts: views }: LiveCluster,
  members: LiveCluster['peers']
): Promise<Map<string, SimHost>> {
  const hosts = new Map<string, SimHost>()
  let first: SimHost | null = null
  for (const { id, name } of members) {
    const isUnique = peers.filter((peer) => peer.name === name).length === 1
    const options = { name: isUnique && name != null ? name : id, lan: false, networks: networksOf(views[id]) }
    const host: SimHost =
      first == null ? await world.found('rehearsal', options) : await world.join(first, 'member', options)
    first ??= host
    hosts.set(id, host)
  }
  return hosts
}

/** A mesh file of the cluster's peers, as one of the simulated hosts. */
const renamed =
  (hosts: ReadonlyMap<string, SimHost>) =>
  ({ services }: MeshFile, { peers }: LiveCluster): MeshFile => {
    const nameOf = (said: string): string => {
      const found =
        peers.find(({ id, name }) => id === said || name === said) ?? peers.find(({ id }) => id.startsWith(said))
      return hosts.get(found?.id ?? '')?.name ?? said
    }
    return {
      services: services.map((service) => ({
        ...service,
        id: undefined,
        source_peer: nameOf(service.source_peer),
        target_peer: nameOf(service.target_peer)
      }))
    }
  }

async function rest(world: World): Promise<void> {
  if ((await world.settle(settleMaxMs)) == null) world.violate('agreement', world.unrest() ?? 'no rest in time')
}

const networksOf = (
  { addresses, networks }: HostView = { addresses: [], networks: [], whole: false }
): HostNetworks => ({
  own: addresses.map(parseAddress).filter((address) => address != null),
  attached: networks.map(parsePrefix).filter((network) => network != null)
})

const isAway = ({ state, reachable }: LiveCluster['peers'][number]): boolean => state === 'admitted' && !reachable

const UNTOUCHED: Fate = { fate: 'untouched', service: null, target: null }

/** A flow of a service with a device of its own enters by that device; without the device it does not come in at all. */
const fateOf =
  (hosts: ReadonlyMap<string, SimHost>, { services, peers }: LiveCluster) =>
  ({ peer, source, dest, service: recorded }: Flow): Fate => {
    const host = hosts.get(peer)
    if (host == null) return UNTOUCHED
    const own = services.find(({ id, requires_interface }) => id === recorded && requires_interface)
    const there = [...(host.agent?.replica.view().services.values() ?? [])]
    const device =
      own == null ? null : there.find(({ name, requires_interface }) => name === own.name && requires_interface)
    if (own != null && device == null) return UNTOUCHED
    const away = new Set(peers.filter(isAway).map(({ id }) => hosts.get(id)))
    return led(hosts, away, host, { interface: device == null ? null : serviceDeviceName(device.id), source, dest })
  }

function led(
  hosts: ReadonlyMap<string, SimHost>,
  away: ReadonlySet<SimHost | undefined>,
  host: SimHost,
  flow: { interface: string | null; source: string; dest: string }
): Fate {
  const packet = parsePacket(flow)
  const steered = packet == null ? null : host.kernel.steer(packet)
  if (packet == null || steered == null) return UNTOUCHED
  const there = [...hosts.values()].find(({ id }) => id === steered.target)
  const service = host.agent?.replica.view().services.get(steered.service)?.name ?? steered.service
  const taken = !away.has(there) && there?.kernel.takes(host.id, steered.service, packet) === true
  return { fate: taken ? 'carried' : 'refused', service, target: there?.name ?? null }
}

type Compared = Pick<Rehearsal, 'flows' | 'same' | 'moved' | 'dropped' | 'appeared' | 'unexplained'>

function compare(
  { services }: LiveCluster,
  flows: readonly Flow[],
  before: readonly Fate[],
  after: readonly Fate[]
): Compared {
  const nameOf = new Map(services.map(({ id, name }) => [id, name]))
  const result: Compared = { flows: flows.length, same: 0, moved: [], dropped: [], appeared: [], unexplained: 0 }
  for (const [i, { service, ...flow }] of flows.entries()) {
    const [was, is] = [before[i] as Fate, after[i] as Fate]
    if (service != null && nameOf.get(service) !== was.service) result.unexplained++
    const moved = { ...flow, before: was, after: is }
    if (was.fate !== 'carried' && is.fate === 'carried') result.appeared.push(moved)
    else if (was.fate === 'carried' && is.fate !== 'carried') result.dropped.push(moved)
    // Whatever carried it until now, a service takes it and brings it nowhere.
    else if (was.fate === 'untouched' && is.fate === 'refused') result.dropped.push(moved)
    else if (was.fate === is.fate && was.service === is.service && was.target === is.target) result.same++
    else result.moved.push(moved)
  }
  return result
}
