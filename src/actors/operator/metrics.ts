import { Counter, Gauge, Registry } from 'prom-client'
import type { ServiceReport } from '../../mesh/mesh.ts'
import { metricServicesMax } from '../limits.ts'
import type { OperatorDeps } from './deps.ts'
import { FlowMetrics, OTHER } from './flow-metrics.ts'
import { quantile } from './quantile.ts'
import { readiness } from './status.ts'

/**
 * The agent's figures in Prometheus text format, read when they are asked for. Services get series of their own up to
 * `metricServicesMax`, the rest together one called `other`; `arctic_agent_services` counts all of this host's.
 */
export class Metrics {
  readonly #deps: OperatorDeps
  readonly #registry = new Registry()

  constructor(deps: OperatorDeps) {
    this.#deps = deps
    const { replica, mesh, dataplane, reconciler, stalls, clock, feed } = deps
    const flows = new FlowMetrics(this.#registry, (service) => reconciler.reports.get(service) != null)
    const unsubscribe = dataplane.onEvent((event) => {
      if (event.type === 'flow.closed') flows.observe(event.flow)
    })
    deps.until.addEventListener('abort', unsubscribe, { once: true })
    const own = (): Array<{ id: string }> => [
      ...(reconciler.desired?.outbound ?? []),
      ...(reconciler.desired?.inbound ?? [])
    ]
    this.#gauge(
      'arctic_agent_uptime_seconds',
      'Time since the agent started.',
      () => (clock.monotonic() - deps.startedAt) / 1000
    )
    this.#gauge(
      'arctic_agent_ready_state',
      '1 when the agent is in a cluster, synced, and its data planes are up.',
      () => Number(readiness(deps).ready)
    )
    this.#gauge(
      'arctic_agent_loop_delay_seconds',
      'Longest event-loop stall since the last scrape.',
      () => stalls.takeWorstMs() / 1000
    )
    this.#counter('arctic_agent_loop_stalls_total', 'Event-loop stalls that were worth a warning.', () => [
      [{}, stalls.stalls]
    ])
    this.#gauge('arctic_agent_event_listeners', 'Clients on the event feed.', () => feed.listeners)
    this.#gauge('arctic_crdt_members', 'Members of the cluster.', () => replica.view().members.size)
    this.#gauge('arctic_crdt_services', 'Services in the replicated state.', () => replica.view().services.size)
    this.#gauge('arctic_crdt_routes', 'Routes in the replicated state.', () => replica.view().routes.size)
    this.#gauge(
      'arctic_crdt_heads',
      'Heads of the document; more than 1 are concurrent changes.',
      () => replica.view().heads.length
    )
    this.#gauge(
      'arctic_crdt_revision_changes',
      'Changes of the view since the agent started.',
      () => replica.view().revision
    )
    this.#gauge(
      'arctic_crdt_rejected_changes',
      'Changes in the log that the view leaves out.',
      () => replica.view().rejected.length
    )
    this.#gauge(
      'arctic_mesh_reachable_peers',
      'Members that answer, without this peer.',
      () =>
        [...replica.view().members.keys()].filter((id) => id !== mesh.self && reconciler.reach(id) === 'reachable')
          .length
    )
    this.#counter(
      'arctic_mesh_refused_total',
      'What other peers spoke wrongly, by protocol and reason.',
      () => mesh.refusals().map(({ protocol, reason, count }) => [{ protocol, reason }, count]),
      ['protocol', 'reason']
    )
    this.#gauge(
      'arctic_mesh_copied_identities',
      'Members whose identity two agents bear at once.',
      () => mesh.twins().length
    )
    this.#labelled(
      'arctic_mesh_propagation_seconds',
      'From written by its author to durable here, of late.',
      ['quantile'],
      () => {
        const samples = mesh.propagation()
        return [0.5, 0.9, 0.99].flatMap((q) => {
          const ms = quantile(samples, q)
          return ms == null ? [] : [[{ quantile: String(q) }, ms / 1000]]
        })
      }
    )
    this.#labelled('arctic_mesh_rtt_seconds', 'Round-trip time by member.', ['peer'], () =>
      mesh
        .peers()
        .flatMap(({ id, state, rttMs }) =>
          id === mesh.self || state !== 'admitted' || rttMs == null ? [] : [[{ peer: id }, rttMs / 1000]]
        )
    )
    this.#counter(
      'arctic_mesh_actor_refused_total',
      'Messages of the actor protocol that were refused, by reason.',
      () => [...mesh.actors.refused()].map(([reason, count]) => [{ reason }, count]),
      ['reason']
    )
    this.#labelled('arctic_agent_services', 'Services that this host is an endpoint of, by phase.', ['phase'], () => {
      const phases: Record<string, number> = { active: 0, pending: 0, degraded: 0 }
      for (const { id } of own()) {
        const phase = reconciler.statuses.get(id)?.phase ?? 'pending'
        phases[phase] = (phases[phase] ?? 0) + 1
      }
      return Object.entries(phases).map(([phase, count]) => [{ phase }, count])
    })
    this.#gauge(
      'arctic_netmgr_generation_number',
      'Generation of the last applied state.',
      () => reconciler.applied?.generation ?? 0
    )
    this.#labelled('arctic_engine_ready_state', '1 when the engine is ready.', ['engine'], () =>
      dataplane.engines().map(({ engine, state }) => [{ engine }, Number(state === 'ready')])
    )
    this.#labelled('arctic_engine_draining', 'Engines of builds before that still have flows.', ['engine'], () =>
      dataplane.engines().map(({ engine, draining }) => [{ engine }, draining.length])
    )
    this.#counter(
      'arctic_engine_restarts_total',
      'Times that an engine was started again.',
      () => dataplane.engines().map(({ engine, restarts }) => [{ engine }, restarts]),
      ['engine']
    )
    this.#labelled('arctic_service_flows', 'Open TCP flows by service, here.', ['service', 'role'], () =>
      this.#services((report) => report.flows)
    )
    this.#counter(
      'arctic_service_received_bytes_total',
      "Payload bytes from the clients' side by service, here.",
      () => this.#services((report) => report.bytes_in),
      ['service', 'role']
    )
    this.#counter(
      'arctic_service_sent_bytes_total',
      "Payload bytes to the clients' side by service, here.",
      () => this.#services((report) => report.bytes_out),
      ['service', 'role']
    )
  }

  /** Text format 0.0.4. */
  async text(): Promise<string> {
    await this.#deps.reconciler.counters.fresh()
    return this.#registry.metrics()
  }

  #services(value: (report: ServiceReport) => number): Sample[] {
    const samples: Sample[] = []
    const others = new Map<string, number>()
    for (const report of this.#deps.reconciler.reports.all()) {
      const { service_id: service, role } = report
      if (samples.length < metricServicesMax) samples.push([{ service, role }, value(report)])
      else others.set(role, (others.get(role) ?? 0) + value(report))
    }
    for (const [role, sum] of others) samples.push([{ service: OTHER, role }, sum])
    return samples
  }

  #gauge(name: string, help: string, read: () => number): void {
    this.#labelled(name, help, [], () => [[{}, read()]])
  }

  #labelled(name: string, help: string, labelNames: string[], read: () => Sample[]): void {
    const gauge = new Gauge({
      name,
      help,
      labelNames,
      registers: [this.#registry],
      collect: () => {
        gauge.reset()
        for (const [labels, value] of read()) gauge.set(labels, value)
      }
    })
  }

  /** The totals are kept elsewhere; this one shows them. */
  #counter(name: string, help: string, read: () => Sample[], labelNames: string[] = []): void {
    const counter = new Counter({
      name,
      help,
      labelNames,
      registers: [this.#registry],
      collect: () => {
        counter.reset()
        for (const [labels, value] of read()) counter.inc(labels, value)
      }
    })
  }
}

type Sample = [labels: Record<string, string>, value: number]
