import type { Operator } from '../src/actors/operator/operator.ts'
import { desiredFor } from '../src/actors/reconcile/desired.ts'
import type { Envelope } from '../src/crdt/envelope.ts'
import type { EnvelopeBytes } from '../src/crdt/replicated.ts'
import { SimHost } from './host/host.ts'
import { recordedMax, settleHoldMs, settlePollMs, violationsMax } from './limits.ts'
import { Wire } from './net/wire.ts'
import { SeededRandom } from './random.ts'
import { Scheduler } from './scheduler.ts'
import { Trace } from './trace.ts'

export interface Violation {
  checker: string
  message: string
  /** Virtual ms. */
  at: number
}

/** What the operators were told about a service; the durability checker holds the cluster to it. */
export interface Promised {
  created: boolean
  /** Somebody asked for its removal, whatever became of that. */
  removalAsked: boolean
  removed: boolean
}

/** All hosts, the wire between them and virtual time, from one seed; and what operators were promised in it. */
export class World {
  readonly scheduler = new Scheduler()
  readonly random: SeededRandom
  readonly wire: Wire
  readonly trace: Trace
  readonly hosts: SimHost[] = []
  /** Peers that operators have let in. Whoever else is seen inside got there by a hole. */
  readonly invited = new Set<string>()
  /** Of these, who may let others in. */
  readonly admins = new Set<string>()
  /** Highest sequence number acknowledged of each author-actor, and by which host. */
  readonly acks = new Map<string, { seq: number; host: SimHost }>()
  readonly services = new Map<string, Promised>()
  readonly violations: Violation[] = []
  /** The last envelopes that members made, as somebody on the wire would have them. */
  readonly recorded: EnvelopeBytes[] = []
  workBeganAt = 0

  constructor(seed: string) {
    this.random = new SeededRandom(seed)
    this.wire = new Wire(this.scheduler, this.random.fork('wire'))
    this.trace = new Trace(() => this.scheduler.now)
  }

  get now(): number {
    return this.scheduler.now
  }

  /** Another machine, not running yet. */
  host(): SimHost {
    const host = new SimHost(this, this.hosts.length)
    this.hosts.push(host)
    return host
  }

  /** Hosts that operators have let in: those that must agree. */
  members(): SimHost[] {
    return this.hosts.filter(({ id }) => this.invited.has(id))
  }

  /** Members whose agents run. */
  up(): SimHost[] {
    return this.members().filter(({ agent }) => agent != null)
  }

  /** The first host founds the cluster. */
  async found(name: string): Promise<SimHost> {
    const host = this.host()
    await host.boot()
    this.invited.add(host.id)
    this.admins.add(host.id)
    await operatorOf(host).clusterInit({ name })
    return host
  }

  /** A new host joins by `by`. */
  async join(by: SimHost, role: 'member' | 'admin' = 'member'): Promise<SimHost> {
    const host = this.host()
    await host.boot()
    await this.enter(host, by, role)
    return host
  }

  async enter(host: SimHost, by: SimHost, role: 'member' | 'admin' = 'member'): Promise<void> {
    const { token } = await by.ask((operator) => operator.clusterInvite({ ttl_seconds: 3_600, uses: 1, role }))
    this.invited.add(host.id)
    await host.ask((operator) => operator.clusterJoin({ token }, { signal: new AbortController().signal }))
    if (role === 'admin') this.admins.add(host.id)
  }

  acknowledged(host: SimHost, { actor, seq, bytes }: Envelope): void {
    this.recorded.push(bytes)
    if (this.recorded.length > recordedMax) this.recorded.shift()
    const held = this.acks.get(actor)
    if (held == null || held.seq < seq) this.acks.set(actor, { seq, host })
  }

  violate(checker: string, message: string): void {
    if (this.violations.length >= violationsMax) return
    if (this.violations.some((one) => one.checker === checker && one.message === message)) return
    this.violations.push({ checker, message, at: Math.round(this.now) })
    this.trace.note(null, 'violation', `${checker}: ${message}`)
  }

  /** What an agent that was stopped has left: timers, listeners, connections. */
  leftBehind(host: SimHost, leftovers: Record<string, number>): void {
    for (const [what, count] of Object.entries(leftovers)) {
      if (count !== 0) this.violate('leaks', `${host.name} was stopped and left ${count} ${what} behind`)
    }
  }

  /** Null when all members run, hold the same, and have programmed it; else what is not so. */
  unrest(): string | null {
    const members = this.members()
    const down = members.find(({ agent }) => agent == null)
    if (down != null) return `${down.name} is not up`
    const views = members.map((host) => ({ host, view: host.agent!.replica.view() }))
    const first = views[0]
    if (first == null) return null
    const heads = first.view.heads.join()
    const other = views.find(({ view }) => view.heads.join() !== heads || view.members.size !== first.view.members.size)
    if (other != null) return `${other.host.name} and ${first.host.name} hold different documents`
    const behind = views.find(
      ({ host, view }) => JSON.stringify(host.kernel.desired) !== JSON.stringify(desiredFor(host.id, view))
    )
    return behind == null ? null : `${behind.host.name} has not programmed what it holds`
  }

  /** Waits until all is at rest and stays so. Answers the virtual ms it took, or null after `maxMs`. */
  async settle(maxMs: number): Promise<number | null> {
    const began = this.now
    for (let since: number | null = null; ;) {
      since = this.unrest() == null ? (since ?? this.now) : null
      if (since != null && this.now - since >= settleHoldMs) return since - began
      if (since == null && this.now - began > maxMs) return null
      await this.scheduler.sleep(settlePollMs)
    }
  }
}

/** What an operator of a host that is up can ask. */
export function operatorOf(host: SimHost): Operator {
  if (host.agent == null) throw new Error(`${host.name} is not up`)
  return host.agent.actors.operator
}
