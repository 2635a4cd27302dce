import { createActor, type AnyActorRef } from 'xstate'
import type { Clock } from '../clock.ts'
import type { PeerRecord } from '../crdt/schema.ts'
import type { Dataplane } from '../dataplane/desired.ts'
import { COMMUNITY, type LicenseState } from '../license.ts'
import type { Logger } from '../log.ts'
import type { Mesh } from '../mesh/mesh.ts'
import { agentMachine } from './agent/agent.machine.ts'
import { EventFeed } from './event-feed.ts'
import { stopWaitMs } from './limits.ts'
import { createOperator } from './operator/create.ts'
import type { HostDiagnostics } from './operator/diagnostics.ts'
import type { HostDoctor } from './operator/doctor.ts'
import type { Operator, StatusJson } from './operator/operator.ts'
import type { KeyRingPort, KeySettings, ReplicaPort } from './ports.ts'
import { Reconciler } from './reconcile/reconciler.ts'
import { attachRecorder, recorded } from './runtime/recorded.ts'
import { FlightRecorder } from './runtime/recorder.ts'
import { childOf } from './runtime/supervisor.logic.ts'
import { xstateClock } from './runtime/xstate-clock.ts'
import { StallWatch } from './stall.ts'

export interface ActorsOptions {
  replica: ReplicaPort
  mesh: Mesh
  dataplane: Dataplane
  clock: Clock
  log: Logger
  version: string
  stateDir: string
  /** What this process would publish of itself; asked again whenever the view changes. */
  selfRecord: () => PeerRecord
  /** This peer's data-plane keys, and when they are changed; left out: never. */
  keys?: { ring: KeyRingPort; settings: () => KeySettings }
  /** Asked whenever it matters, since a licence may expire or be replaced; left out: the community edition. */
  license?: () => LicenseState
  /** Looks at the host for `doctor`; left out: nobody does. */
  hostDoctor?: HostDoctor
  /** Asked at each `status`, since ports and the API's fingerprint are known only after listening. */
  listen: () => StatusJson['listen']
  /** For a bug report; without it there is nothing but what the actors know themselves. */
  host?: HostDiagnostics
  /** A part that the agent cannot do without failed again and again. The process should exit non-zero. */
  onFatal: (error: unknown) => void
}

export interface Actors {
  operator: Operator
  /** Settings that are asked for may have changed. */
  reloaded(): void
  /**
   * Ends all actors: nothing is programmed, published or evaluated after it. It does not stop the data plane, the mesh
   * or the replica: whoever started those stops them, after this.
   */
  stop(): Promise<void>
}

/**
 * Brings the actors to life:
 *
 * 1. the root and its supervisors;
 * 2. the reconciler, which knows them;
 * 3. the singletons, each an ear on one of the parts below;
 * 4. the first evaluation: desired state to netmgr, reports to the mesh, actors for what the view holds.
 *
 * The replica is open, and the data plane and the mesh are started, before this is called.
 */
export function startActors(options: ActorsOptions): Actors {
  const { replica, mesh, dataplane, clock, log, onFatal } = options
  const actorLog = log.module('actors')
  const startedAt = clock.monotonic()
  const stalls = new StallWatch({ clock, log: log.module('agent') })
  const feed = new EventFeed({ clock, log: log.module('actors:events') })

  const agent = createActor(recorded(agentMachine(clock)), {
    id: 'agent',
    systemId: 'agent',
    input: { log: actorLog, onFatal },
    clock: xstateClock(clock)
  })
  const recorder = new FlightRecorder(() => clock.now())
  attachRecorder(agent.system, recorder)
  agent.subscribe({ error: onFatal })
  agent.start()

  const reconciler = new Reconciler(
    {
      replica,
      mesh,
      dataplane,
      clock,
      log: log.module('actors:reconcile'),
      feed,
      selfRecord: options.selfRecord,
      ...(options.keys == null ? {} : { keys: options.keys })
    },
    agent
  )

  const singletons = agent.getSnapshot().children.singletons!
  const begin = (id: string, input: object): void => singletons.send({ type: 'child.start', id, input })
  begin('netmgr', {
    dataplane,
    log: log.module('netmgr'),
    onApplied: reconciler.onApplied.bind(reconciler),
    onEvent: reconciler.onDataplane.bind(reconciler)
  })
  begin('keys', {
    rotate: async () => {
      await reconciler.keys?.rotate('asked for')
    }
  })
  begin('pegasus', { engine: 'pegasus' })
  begin('tempest', { engine: 'tempest' })
  begin('replica', { replica, onView: reconciler.onView.bind(reconciler) })
  begin('node', {
    mesh,
    onPresence: reconciler.onPresence.bind(reconciler),
    onReport: reconciler.onReport.bind(reconciler)
  })

  stalls.start()
  reconciler.start()

  const over = new AbortController()
  const operator = createOperator({
    until: over.signal,
    replica,
    mesh,
    dataplane,
    reconciler,
    agent,
    recorder,
    feed,
    stalls,
    clock,
    log: log.module('actors:operator'),
    license: options.license ?? (() => COMMUNITY),
    hostDoctor: options.hostDoctor ?? null,
    selfRecord: options.selfRecord,
    version: options.version,
    stateDir: options.stateDir,
    listen: options.listen,
    host: options.host ?? { config: () => ({}), log: () => [], traces: async () => [], secrets: [] },
    startedAt
  })

  return {
    operator,
    reloaded: () => reconciler.keys?.reconsider(),
    async stop() {
      over.abort()
      reconciler.stop()
      stalls.stop()
      agent.send({ type: 'agent.drain' })
      const netmgr = childOf(singletons, 'netmgr')
      if (netmgr != null) await settled(netmgr, clock)
      agent.send({ type: 'agent.stop' })
      agent.stop()
    }
  }
}

/** Until netmgr has no apply in flight, or the limit. */
function settled(netmgr: AnyActorRef, clock: Clock): Promise<void> {
  const busy = (snapshot: unknown): boolean => (snapshot as { value?: unknown }).value === 'applying'
  return new Promise((resolve) => {
    if (!busy(netmgr.getSnapshot())) {
      resolve()
      return
    }
    const done = (): void => {
      timer.cancel()
      subscription.unsubscribe()
      resolve()
    }
    const timer = clock.after(stopWaitMs, done)
    const subscription = netmgr.subscribe({
      next: (snapshot: unknown) => busy(snapshot) || done(),
      error: done,
      complete: done
    })
  })
}
