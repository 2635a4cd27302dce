import { Counter, Histogram, type Registry } from 'prom-client'
import type { FlowRecord } from '../../dataplane/desired.ts'
import { latencyServicesMax } from '../limits.ts'

/** Bounds of the latency histograms, s: from a local network to Pegasus' dial timeout. */
const BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
/** The label of all services that have no series of their own. */
export const OTHER = 'other'

/**
 * What is counted as flows end: how many and why, how long destinations took to answer, and when their first byte came.
 * The first `latencyServicesMax` services that are still there have series of their own, the rest shares one.
 */
export class FlowMetrics {
  readonly #isThere: (service: string) => boolean
  readonly #known = new Set<string>()
  readonly #flows: Counter
  readonly #ends: Counter
  readonly #connect: Histogram
  readonly #firstByte: Histogram

  constructor(registry: Registry, isThere: (service: string) => boolean) {
    this.#isThere = isThere
    const registers = [registry]
    const labelNames = ['service', 'role']
    this.#flows = new Counter({
      name: 'arctic_pegasus_flows_total',
      help: 'Flows that have ended, by service, here.',
      labelNames,
      registers,
      collect: () => this.#forget()
    })
    this.#ends = new Counter({
      name: 'arctic_pegasus_flow_ends_total',
      help: 'Flows that have ended, by reason.',
      labelNames: ['role', 'reason'],
      registers
    })
    this.#connect = new Histogram({
      name: 'arctic_pegasus_connect_seconds',
      help: 'How long destinations took to answer, of flows that have ended.',
      labelNames,
      registers,
      buckets: BUCKETS
    })
    this.#firstByte = new Histogram({
      name: 'arctic_pegasus_first_byte_seconds',
      help: "From a flow's start to the destination's first byte, of flows that have ended.",
      labelNames,
      registers,
      buckets: BUCKETS
    })
  }

  observe({ side: role, serviceId, reason, connectMs, firstByteMs }: FlowRecord): void {
    const labels = { service: this.#label(serviceId), role }
    this.#flows.inc(labels)
    this.#ends.inc({ role, reason })
    if (connectMs != null) this.#connect.observe(labels, connectMs / 1000)
    if (firstByteMs != null) this.#firstByte.observe(labels, firstByteMs / 1000)
  }

  #label(service: string): string {
    if (this.#known.has(service)) return service
    if (this.#known.size >= latencyServicesMax) this.#forget()
    if (this.#known.size >= latencyServicesMax || !this.#isThere(service)) return OTHER
    this.#known.add(service)
    return service
  }

  /** Series of services that are gone make room for others. */
  #forget(): void {
    for (const service of this.#known) {
      if (this.#isThere(service)) continue
      this.#known.delete(service)
      for (const role of ['source', 'target'])
        for (const metric of [this.#flows, this.#connect, this.#firstByte]) metric.remove({ service, role })
    }
  }
}
