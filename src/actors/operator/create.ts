import { UnavailableError } from '../../errors.ts'
import { ActorNouns } from './actors.ts'
import { ClusterNouns } from './cluster.ts'
import { HistoryNouns } from './history.ts'
import type { OperatorDeps } from './deps.ts'
import { Metrics } from './metrics.ts'
import type { ActorOptions, Operator } from './operator.ts'
import { resolvePeer } from './peer-ref.ts'
import { PeerNouns } from './peers.ts'
import { testRoute } from './route-test.ts'
import { ServiceNouns } from './services.ts'
import { agentStatus, readiness } from './status.ts'
import { waitFor } from './wait.ts'

/** Everything that can be asked of an agent, put together from its nouns. */
export function createOperator(deps: OperatorDeps): Operator {
  const actors = new ActorNouns({ ...deps, told: deps.reconciler.live })
  const cluster = new ClusterNouns(deps)
  const history = new HistoryNouns(deps)
  const peers = new PeerNouns(deps)
  const services = new ServiceNouns(deps)
  let metrics: Metrics | null = null
  return {
    status: () => agentStatus(deps),
    clusterInit: (input) => cluster.init(input),
    clusterInvite: (input) => cluster.invite(input),
    clusterJoin: (input, options) => cluster.join(input, options),
    clusterStatus: () => cluster.status(),
    clusterSync: (options) => cluster.sync(options),
    clusterHistory: (query) => history.list(query),
    listPeers: (input) => peers.list(input),
    getPeer: (peer) => peers.get(peer),
    createService: (input) => services.create(input),
    listServices: (input) => services.list(input),
    getService: (id) => services.get(id),
    updateService: (id, patch, options) => services.update(id, patch, options),
    deleteService: (id, options) => services.delete(id, options),
    addRoutes: (service, routes) => services.addRoutes(service, routes),
    listRoutes: (service) => services.listRoutes(service),
    updateRoute: (service, route, patch) => services.updateRoute(service, route, patch),
    deleteRoute: (service, route) => services.deleteRoute(service, route),
    waitFor: (concerned, options) => waitFor(deps, concerned, options),
    testRoute: (input) => testRoute(deps, input),
    actors: async (options) => here(deps, options, () => actors.tree()),
    inspectActor: async (path, options) => here(deps, options, () => actors.inspect(path)),
    actorHistory: async (path, options) => here(deps, options, () => actors.history(path)),
    sendActor: async (path, event, options) => here(deps, options, () => actors.send(path, event, options)),
    watchActor: async (path, listener, options) => here(deps, options, () => actors.watch(path, listener)),
    ready: async () => readiness(deps),
    metrics: () => (metrics ??= new Metrics(deps)).text(),
    onEvent: (listener) => deps.feed.on(listener)
  }
}

/** Actors of other peers are not reached yet; naming this very peer is fine. */
function here<T>({ replica, mesh }: OperatorDeps, { peer }: ActorOptions = {}, ask: () => T): T {
  if (peer != null && resolvePeer(peer, replica.view(), mesh) !== mesh.self) {
    throw new UnavailableError(`the actors of peer "${peer}" cannot be reached from here; ask its own agent`)
  }
  return ask()
}
