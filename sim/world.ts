import { hash } from 'node:crypto'
import type { Operator } from '../src/actors/operator/operator.ts'
import { ArcticError, UnavailableError } from '../src/errors.ts'
import { desiredFor } from '../src/actors/reconcile/desired.ts'
import type { View } from '../src/crdt/view.ts'
import type { DesiredState } from '../src/dataplane/desired.ts'
import type { Envelope } from '../src/crdt/envelope.ts'
import type { EnvelopeBytes, VersionVector } from '../src/crdt/replicated.ts'
import type { AgentKind, Asked } from './host/agent.ts'
import { SimHost, type HostOptions } from './host/host.ts'
import { sharedReader } from './host/readings.ts'
import { recordedMax, revokeAgainMs, revokeTriesMax, settleHoldMs, settlePollMs, violationsMax } from './limits.ts'
import type { NetworkKind } from './net/host-network.ts'
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

/** Where a change stands among all that its author wrote: by this actor, from and up to these numbers. */
export interface Written {
  host: SimHost
  actor: string
  from: number
  to: number
}

/** What the operators were told about a service; the durability checker holds the cluster to it. */
export interface Promised {
  created: Written
  /** Somebody asked for its removal, whatever became of that. */
  removalAsked: boolean
  removals: Written[]
}

/**
 * A member that is thrown out or must expect it: `kept` of it stands for certain, and what is beyond `gone` counts nowhere;
 * null when nobody can say beforehand.
 */
export interface Outcast {
  kept: VersionVector
  gone: VersionVector | null
  /** The revocation; null as long as there is none. It counts as little as its author does beyond what is kept of that. */
  by: Written | null
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
  /** Of these, who may let others in and change what is everybody's. */
  readonly admins = new Set<string>()
  /** Who was one at some time. */
  readonly wereAdmins = new Set<string>()
  readonly outcasts = new Map<string, Outcast>()
  /** Services that were written by somebody without the right to. */
  readonly forged = new Set<string>()
  /** Fields and kinds that agents of a newer version wrote: its path in the document → the last value, and by whose key. */
  readonly novelties = new Map<string, { value: number; author: SimHost }>()
  /** Highest sequence number acknowledged of each author-actor, and by which host. */
  readonly acks = new Map<string, { seq: number; host: SimHost }>()
  readonly services = new Map<string, Promised>()
  readonly violations: Violation[] = []
  /** The last envelopes that members made, as somebody on the wire would have them. */
  readonly recorded: EnvelopeBytes[] = []
  readonly reader = sharedReader()
  /** The state that a kernel was found in when it was what this view asks for. */
  readonly #programmed = new WeakMap<View, DesiredState>()
  readonly #documents = new WeakMap<View, string>()
  workBeganAt = 0
  readonly network: NetworkKind
  readonly agents: AgentKind

  constructor(
    seed: string,
    { network = 'light', agents = 'whole' }: { network?: NetworkKind; agents?: AgentKind } = {}
  ) {
    this.network = network
    this.agents = agents
    this.random = new SeededRandom(seed)
    this.wire = new Wire(this.scheduler, this.random.fork('wire'))
    this.trace = new Trace(() => this.scheduler.now)
  }

  get now(): number {
    return this.scheduler.now
  }

  /** Another machine, not running yet. */
  host(options: HostOptions = {}): SimHost {
    const host = new SimHost(this, this.hosts.length, options)
    this.hosts.push(host)
    return host
  }

  /** Hosts that operators have let in and nobody has thrown out: those that must agree. */
  members(): SimHost[] {
    return this.hosts.filter(({ id }) => this.invited.has(id) && !this.outcasts.has(id))
  }

  /** Members whose agents run. */
  up(): SimHost[] {
    return this.members().filter(({ agent }) => agent != null)
  }

  /** The first host founds the cluster. */
  async found(name: string, options: HostOptions = {}): Promise<SimHost> {
    const host = this.host(options)
    await host.boot()
    this.invited.add(host.id)
    this.#promote(host)
    await operatorOf(host).clusterInit({ name })
    return host
  }

  /** A new host joins by `by`. */
  async join(by: SimHost, role: 'member' | 'admin' = 'member', options: HostOptions = {}): Promise<SimHost> {
    const host = this.host(options)
    await host.boot()
    await this.enter(host, by, role)
    return host
  }

  async enter(host: SimHost, by: SimHost, role: 'member' | 'admin' = 'member'): Promise<void> {
    const { token } = await by.ask((operator) => operator.clusterInvite({ ttl_seconds: 3_600, uses: 1, role }))
    this.invited.add(host.id)
    // It may be in before the answer is lost.
    if (role === 'admin') this.wereAdmins.add(host.id)
    await host.ask((operator) => operator.clusterJoin({ token }, { signal: new AbortController().signal }))
    if (role === 'admin') this.#promote(host)
  }

  #promote({ id }: SimHost): void {
    this.admins.add(id)
    this.wereAdmins.add(id)
  }

  /** Some other admin revokes a member, and another one when the first goes away over it. */
  async revoke(subject: SimHost): Promise<void> {
    this.admins.delete(subject.id)
    const outcast: Outcast = { kept: {}, gone: null, by: null }
    const random = this.random.fork(`revoke ${subject.id}`)
    for (let attempt = 0; this.outcasts.get(subject.id)?.gone == null; attempt++) {
      const by = random.pick(this.up().filter(({ id }) => this.admins.has(id)))
      try {
        if (by?.agent == null) throw new UnavailableError('no admin is up')
        const { replica } = by.agent
        const kept = replica.vector()
        outcast.kept = attempt === 0 ? kept : lowest(outcast.kept, kept)
        this.outcasts.set(subject.id, outcast)
        await by.ask(() => replica.revoke(subject.id))
        outcast.gone = replica.vector()
        outcast.by = { host: by, ...by.authorized }
        this.trace.note(by.index, 'change', `${subject.name} is revoked`)
      } catch (error) {
        if (!(error instanceof ArcticError) || attempt >= revokeTriesMax) throw error
        await this.scheduler.sleep(revokeAgainMs)
      }
    }
  }

  /** Another machine with a copy of this one's disk, and so with its identity. */
  clone(original: SimHost): SimHost {
    this.suspect(original)
    return this.host({ original })
  }

  /** Nothing is expected of a member any more, nor that it is thrown out: what it does cannot be told from a lie. */
  suspect({ id }: SimHost): void {
    this.admins.delete(id)
    this.outcasts.set(id, { kept: {}, gone: null, by: null })
  }

  /** Whether a change counts; null when nobody can say. */
  counts({ host, actor, from, to }: Written): boolean | null {
    const outcast = this.outcasts.get(host.id)
    if (outcast == null || to <= (outcast.kept[actor] ?? 0)) return true
    const gone = this.goneAt(host.id)
    return gone != null && from > (gone[actor] ?? 0) ? false : null
  }

  /** What stood when a member was thrown out for certain; null for who is not, or only by somebody who is out as well. */
  goneAt(id: string): VersionVector | null {
    const { gone = null, by = null } = this.outcasts.get(id) ?? {}
    return by == null || this.counts(by) === true ? gone : null
  }

  acknowledged(host: SimHost, { kind, actor, seq, bytes }: Envelope): void {
    if (kind === 'change') host.wrote = { actor, seq }
    if (kind === 'auth') host.authorized = { actor, from: seq, to: seq }
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
    const document = this.#documentOf(first.view)
    const other = views.find(
      ({ view }) => this.#documentOf(view) !== document || view.members.size !== first.view.members.size
    )
    if (other != null) return `${other.host.name} and ${first.host.name} hold different documents`
    const behind = views.find(({ host, view }) => !this.#hasProgrammed(host, view))
    return behind == null ? null : `${behind.host.name} has not programmed what it holds`
  }

  /** A thousand members have a thousand heads each: what stands for them is asked for again and again. */
  #documentOf(view: View): string {
    let document = this.#documents.get(view)
    if (document == null) {
      document = hash('sha256', view.heads.join(), 'hex')
      this.#documents.set(view, document)
    }
    return document
  }

  /** Asked again and again while nothing changes, and then answered by what was found before. */
  #hasProgrammed({ id, kernel }: SimHost, view: View): boolean {
    if (this.#programmed.get(view) === kernel.desired) return true
    const same = JSON.stringify(kernel.desired) === JSON.stringify(desiredFor(id, view))
    if (same) this.#programmed.set(view, kernel.desired)
    return same
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

/** Of each actor, what both have. */
const lowest = (a: VersionVector, b: VersionVector): VersionVector =>
  Object.fromEntries(Object.entries(a).map(([actor, seq]) => [actor, Math.min(seq, b[actor] ?? 0)]))

/** What an operator of a host that is up can ask. */
export function operatorOf(host: SimHost): Asked {
  if (host.agent == null) throw new Error(`${host.name} is not up`)
  return host.agent.operator
}

/** Everything that can be asked of a host, which is up and has a whole agent. */
export function wholeOperatorOf(host: SimHost): Operator {
  if (host.agent?.whole == null) throw new Error(`${host.name} has no whole agent`)
  return host.agent.whole
}
