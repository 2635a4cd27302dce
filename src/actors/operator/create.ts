import { activityOf, type ActivityJson } from './activity.ts'
import { ActorWindow, servedActors } from './actor-window.ts'
import { ActorNouns } from './actors.ts'
import { ClusterNouns } from './cluster.ts'
import { connectionsOf, type ConnectionsJson } from './connections.ts'
import { listFlows } from './flows.ts'
import { HistoryNouns } from './history.ts'
import { diagnosticsOf } from './diagnostics.ts'
import type { OperatorDeps } from './deps.ts'
import { doctor } from './doctor.ts'
import { licenseJson } from './license.ts'
import { Metrics } from './metrics.ts'
import type { Operator } from './operator.ts'
import { pastAnswers } from './past.ts'
import { rotateKeys, servicesOf } from './peer-keys.ts'
import { PeerNouns } from './peers.ts'
import { previewRules, servedPreview } from './preview.ts'
import { testRoute } from './route-test.ts'
import { ServiceNouns } from './services.ts'
import { agentStatus, readiness } from './status.ts'
import { undoChange } from './undo.ts'
import { waitFor } from './wait.ts'
import { waitForMembers } from './wait-members.ts'
import { TokenNouns } from './tokens.ts'

/** Everything that can be asked of an agent, put together from its nouns. */
export function createOperator(deps: OperatorDeps): Operator {
  const own = new ActorNouns({ ...deps, told: deps.reconciler.live })
  const activity = (): Promise<ActivityJson> => activityOf(deps, () => own.tree())
  const connections = (): Promise<ConnectionsJson> => connectionsOf(deps)
  const actors = new ActorWindow(own, { ...deps, activity, connections })
  deps.mesh.actors.serve(servedActors(own, { activity, connections, preview: (draft) => servedPreview(deps, draft) }))
  const cluster = new ClusterNouns(deps)
  const history = new HistoryNouns(deps)
  const peers = new PeerNouns(deps)
  const services = new ServiceNouns(deps)
  const tokens = new TokenNouns(deps)
  const metrics = new Metrics(deps)
  return {
    status: () => agentStatus(deps),
    clusterInit: (input) => cluster.init(input),
    clusterInvite: (input) => cluster.invite(input),
    clusterJoin: (input, options) => cluster.join(input, options),
    clusterLeave: () => cluster.leave(),
    clusterStatus: () => cluster.status(),
    setPolicy: (patch) => cluster.setPolicy(patch),
    clusterSync: (options) => cluster.sync(options),
    clusterHistory: (query) => history.list(query),
    verifyHistory: () => history.verify(),
    listPeers: (input) => peers.list(input),
    getPeer: (peer) => peers.get(peer),
    updatePeer: (peer, patch) => peers.update(peer, patch),
    async rotateKeys(peer, options) {
      return peers.get(await rotateKeys(deps, actors, peer, options))
    },
    waitForKeys: (peer, options) => waitFor(deps, servicesOf(deps.replica.view(), peer), options),
    revokePeer: (peer) => peers.revoke(peer),
    createService: (input) => services.create(input),
    listServices: (input) => services.list(input),
    getService: (id, options) => services.get(id, options),
    listFlows: (id, query) => listFlows(deps, id, query),
    updateService: (id, patch, options) => services.update(id, patch, options),
    deleteService: (id, options) => services.delete(id, options),
    addRoutes: (service, routes) => services.addRoutes(service, routes),
    listRoutes: (service, options) => services.listRoutes(service, options),
    updateRoute: (service, route, patch) => services.updateRoute(service, route, patch),
    deleteRoute: (service, route) => services.deleteRoute(service, route),
    at: (moment) => pastAnswers(deps, moment),
    clusterEpoch: () => history.epoch(),
    undo: (input, agree) => undoChange(deps, input, agree),
    previewRules: (draft) => previewRules(deps, draft),
    waitFor: (concerned, options) => waitFor(deps, concerned, options),
    waitForMembers: (peer, options) => waitForMembers(deps, peer, options),
    createToken: (input, by) => tokens.create(input, by),
    listTokens: async () => tokens.list(),
    revokeToken: (id) => tokens.revoke(id),
    authenticate: (text) => tokens.authenticate(text),
    testRoute: (input) => testRoute(deps, input),
    actors: (options) => actors.tree(options),
    activity: (options) => actors.activity(options),
    connections: (options) => actors.connections(options),
    inspectActor: (path, options) => actors.inspect(path, options),
    actorHistory: (path, options) => actors.history(path, options),
    sendActor: (path, event, options) => actors.send(path, event, options),
    tellActor: (path, event, options) => actors.tell(path, event, options),
    watchActor: (path, listener, options) => actors.watch(path, listener, options),
    monitorActor: (path, onEnd, options) => actors.monitor(path, onEnd, options),
    doctor: () => doctor(deps),
    license: async () => licenseJson(deps),
    ready: async () => readiness(deps),
    diagnostics: () => diagnosticsOf(deps, deps.host),
    metrics: () => metrics.text(),
    onEvent: (listener) => deps.feed.on(listener)
  }
}
