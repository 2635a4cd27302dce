import { createActor } from 'xstate'
import { agentMachine } from '../../src/actors/agent/agent.machine.ts'
import { EventFeed } from '../../src/actors/event-feed.ts'
import type { TrackedFlow, TrackedFlows } from '../../src/dataplane/conntrack.ts'
import type { OpenFlow } from '../../src/dataplane/desired.ts'
import { FlowLog } from '../../src/actors/flow-log.ts'
import { activityOf } from '../../src/actors/operator/activity.ts'
import { ActorWindow, servedActors } from '../../src/actors/operator/actor-window.ts'
import { ActorNouns } from '../../src/actors/operator/actors.ts'
import { connectionsOf } from '../../src/actors/operator/connections.ts'
import { attachRecorder, recorded } from '../../src/actors/runtime/recorded.ts'
import { FlightRecorder } from '../../src/actors/runtime/recorder.ts'
import type { Clock } from '../../src/clock.ts'
import type { View } from '../../src/crdt/view.ts'
import { UnavailableError } from '../../src/errors.ts'
import { type Logger, silentLogger } from '../../src/log.ts'
import { FakeMesh, FakeWire } from '../actors/fakes/mesh.ts'

/** The real actors of one agent, for the services and peers they are told of, and those of another peer beside it. */
export class MemoryActors {
  readonly window: ActorWindow
  readonly wire = new FakeWire()
  /** What the kernel of each host tracks, by peer; null when it does not show that. */
  readonly tracked = new Map<string, TrackedFlow[] | null>()
  readonly #agent
  readonly #recorder
  readonly #live = new Set<string>()

  /** `bytes` that each service has carried each way. */
  constructor(
    self: string,
    other: string,
    clock: Clock,
    view: () => View,
    bytes: () => number,
    log: Logger = silentLogger
  ) {
    const here = new FakeMesh(self, this.wire)
    const there = new FakeMesh(other, this.wire)
    const parts = { clock, log, view }
    const own = agentOf(here, parts)
    this.#agent = own.agent
    this.#recorder = own.recorder
    const far = agentOf(there, parts)
    const activityAt =
      (mesh: FakeMesh, { nouns, recorder }: typeof own) =>
      () =>
        activityOf(activityDeps(mesh, recorder, clock, view, bytes), () => nouns.tree())
    const connectionsAt = (mesh: FakeMesh) => () => connectionsOf(connectionsDeps(mesh, this.tracked, clock, view))
    there.actors.serve(
      servedActors(far.nouns, {
        activity: activityAt(there, far),
        connections: connectionsAt(there),
        preview: () => ({ added: [], removed: [], more: 0 })
      })
    )
    const window = { mesh: here, replica: { view }, activity: activityAt(here, own), connections: connectionsAt(here) }
    this.window = new ActorWindow(own.nouns, window)
  }

  /** Starts those that are missing. */
  stand(kind: 'peer' | 'service', ids: Iterable<string>): this {
    for (const id of ids) {
      if (this.#live.has(`${kind}:${id}`)) continue
      this.#live.add(`${kind}:${id}`)
      const input = { id, self: false, role: 'source', log: silentLogger }
      const pool = this.#agent.getSnapshot().children[`${kind}s`]
      pool?.send({ type: 'child.start', id: `${kind}:${id}`, input } as never)
    }
    return this
  }

  end(kind: 'peer' | 'service', id: string): void {
    this.#live.delete(`${kind}:${id}`)
    this.#agent.getSnapshot().children[`${kind}s`]?.send({ type: 'child.stop', id: `${kind}:${id}` } as never)
  }

  /** Watches and monitors that are open here. */
  get watches(): number {
    return this.#recorder.listeners
  }
}

function connectionsDeps(
  mesh: FakeMesh,
  tracked: ReadonlyMap<string, TrackedFlow[] | null>,
  clock: Clock,
  view: () => View
): Parameters<typeof connectionsOf>[0] {
  const shown = async (): Promise<TrackedFlows> => {
    const flows = tracked.get(mesh.self) ?? []
    if (tracked.get(mesh.self) === null) throw new UnavailableError('this host does not show what its kernel tracks')
    return { flows, more: false }
  }
  const dataplane = { tracked: shown }
  return { mesh, clock, replica: { view }, dataplane } as unknown as Parameters<typeof connectionsOf>[0]
}

/** As much of an agent as its activity is read from: each service is one that this peer is the source of. */
function activityDeps(
  mesh: FakeMesh,
  recorder: FlightRecorder,
  clock: Clock,
  view: () => View,
  bytes: () => number
): Parameters<typeof activityOf>[0] {
  const services = (): object[] =>
    [...view().services.values()]
      .filter((service) => service.source_peer_id === mesh.self)
      .map(({ id }) => ({ service_id: id, role: 'source', flows: 1, bytes_in: bytes(), bytes_out: 2 * bytes() }))
  const tunnel = { peer: mesh.self, device: 'arct-1', endpoint: null, handshakeAt: null, bytesIn: 0, bytesOut: 0 }
  return {
    mesh,
    recorder,
    clock,
    replica: { view },
    startedAt: 0,
    dataplane: { flows: async () => [openFlow(mesh.self, clock, bytes())] },
    reconciler: {
      counters: { fresh: async () => {}, tunnels: [tunnel] },
      reports: { all: services },
      statuses: { get: () => ({ phase: 'active' }) },
      flows: new FlowLog()
    }
  } as unknown as Parameters<typeof activityOf>[0]
}

const openFlow = (peer: string, clock: Clock, bytes: number): OpenFlow => ({
  side: 'source',
  peer,
  client: '10.1.0.2:40000',
  destination: '10.2.0.2:80',
  dialledFrom: null,
  state: 'open',
  bytesIn: bytes,
  bytesOut: 2 * bytes,
  ageMs: clock.now() % 1000,
  connectMs: 1,
  firstByteMs: null
})

function agentOf(mesh: FakeMesh, { clock, log, view }: { clock: Clock; log: Logger; view: () => View }) {
  const recorder = new FlightRecorder(() => clock.now())
  const agent = createActor(recorded(agentMachine(clock)), { id: 'agent', input: { log, onFatal: () => {} } })
  attachRecorder(agent.system, recorder)
  agent.start()
  const feed = new EventFeed({ clock, log })
  const told = { forget: () => {} }
  return {
    agent,
    recorder,
    nouns: new ActorNouns({ agent, recorder, feed, clock, log, mesh, replica: { view, note: async () => {} }, told })
  }
}
