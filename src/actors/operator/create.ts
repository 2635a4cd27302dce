import { treeOf } from '../runtime/tree.ts'
import { ClusterNouns } from './cluster.ts'
import type { OperatorDeps } from './deps.ts'
import { Metrics } from './metrics.ts'
import type { Operator } from './operator.ts'
import { PeerNouns } from './peers.ts'
import { testRoute } from './route-test.ts'
import { ServiceNouns } from './services.ts'
import { agentStatus, readiness } from './status.ts'

/** Everything that can be asked of an agent, put together from its nouns. */
export function createOperator(deps: OperatorDeps): Operator {
  const cluster = new ClusterNouns(deps)
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
    testRoute: (input) => testRoute(deps, input),
    actors: async () => treeOf(deps.agent),
    ready: async () => readiness(deps),
    metrics: () => (metrics ??= new Metrics(deps)).text(),
    onEvent: (listener) => deps.feed.on(listener)
  }
}
