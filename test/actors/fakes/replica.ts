import type { ActorNote } from '../../../src/crdt/note.ts'
import {
  NotInClusterError,
  ServiceNotFoundError,
  TokenNotFoundError,
  TransparentRequiresInterfaceError,
  UnavailableError
} from '../../../src/errors.ts'
import type {
  PeerRecord,
  Policy,
  Role,
  RouteInput,
  RoutePatch,
  RouteRecord,
  ServiceInput,
  ServicePatch,
  ServiceRecord,
  TokenRecord
} from '../../../src/crdt/schema.ts'
import type { HistoryEntry, HistoryFilter } from '../../../src/crdt/history.ts'
import type { Member, View } from '../../../src/crdt/view.ts'
import type { Kind } from '../../../src/crdt/document.ts'
import type { Origin } from '../../../src/crdt/origin.ts'
import { formatToken, newToken, type TokenInput } from '../../../src/crdt/token.ts'
import type { ReplicaPort } from '../../../src/actors/ports.ts'
import { service as serviceRecord, ulid, viewOf } from './records.ts'

/** One document that all peers of a test see at once: what matters here is what the actors make of it. */
export class FakeDocument {
  members: Member[] = []
  services = new Map<string, ServiceRecord>()
  routes = new Map<string, RouteRecord>()
  tokens = new Map<string, TokenRecord>()
  policy: Policy = { max_services: null }
  readonly listeners = new Set<(view: View, previous: View) => void>()
  view: View = viewOf([])
  readonly notes: Array<ActorNote & { author: string }> = []
  #next = 1

  id(): string {
    return ulid(this.#next++)
  }

  changed(): void {
    const previous = this.view
    const { members, services, routes, tokens, policy } = this
    const revision = previous.revision + 1
    const records = viewOf(members, [...services.values()], [...routes.values()], revision, [...tokens.values()])
    this.view = { ...records, policy }
    for (const listener of this.listeners) listener(this.view, previous)
  }

  replace(peer: string, change: Partial<Member>): Member {
    const index = this.members.findIndex(({ id }) => id === peer)
    const member = { ...this.members[index]!, ...change }
    this.members[index] = member
    this.changed()
    return member
  }

  admit(member: Member): void {
    this.members.push(member)
    this.changed()
  }
}

const EMPTY = viewOf([])

export class FakeReplica implements ReplicaPort {
  readonly #document: FakeDocument
  readonly #self: string
  writes = 0
  /** Newest first. */
  readonly changes: HistoryEntry[] = []
  diskFull = false

  constructor(document: FakeDocument, self: string) {
    this.#document = document
    this.#self = self
  }

  view(): View {
    return this.#seen(this.#document.view)
  }

  onView(listener: (view: View, previous: View) => void): () => void {
    const own = (view: View, previous: View): void => listener(this.#seen(view), this.#seen(previous))
    this.#document.listeners.add(own)
    return () => this.#document.listeners.delete(own)
  }

  /** Who is no member holds nothing of the cluster. */
  #seen(view: View): View {
    return view.members.has(this.#self) ? view : EMPTY
  }

  behind(): null {
    return null
  }

  contradiction(): null {
    return null
  }

  damage(): null {
    return null
  }

  async revoke(peer: string): Promise<void> {
    this.#document.members = this.#document.members.filter(({ id }) => id !== peer)
    this.#document.changed()
  }

  async leave(): Promise<void> {
    await this.revoke(this.#self)
  }

  async forget(): Promise<string> {
    return '/nowhere/log.left'
  }

  async setRole(peer: string, role: Role): Promise<void> {
    this.#document.replace(peer, { role })
  }

  async renamePeer(peer: string, name: string): Promise<PeerRecord> {
    const { record } = this.#document.replace(peer, { name })
    return { ...record!, name }
  }

  async history({ object }: HistoryFilter): Promise<HistoryEntry[]> {
    return this.changes.filter(({ objects }) => object == null || objects.some(({ id }) => id === object))
  }

  async signEpoch(): Promise<never> {
    throw new Error('tests of epochs have a real replica')
  }

  async verify(): Promise<never> {
    throw new Error('tests of verifying have a real replica')
  }

  async past(): Promise<never> {
    throw new Error('tests of the past have a real replica')
  }

  async undo(): Promise<never> {
    throw new Error('tests of undo have a real replica')
  }

  originOf(_kind: Kind, id: string): Origin | null {
    return { id: `change-of-${id}`, author: this.#self, at: '2026-01-01T00:00:00.000Z' }
  }

  async init({ record }: { name: string; record: PeerRecord }): Promise<string> {
    this.#document.admit({
      id: record.id,
      name: record.name,
      role: 'admin',
      admittedBy: record.id,
      admittedAt: '2026-01-01T00:00:00.000Z',
      record
    })
    return 'cluster-1'
  }

  async putPeer(record: PeerRecord): Promise<PeerRecord> {
    this.writes++
    const index = this.#document.members.findIndex((one) => one.id === record.id)
    this.#document.members[index] = { ...this.#document.members[index]!, record }
    this.#document.changed()
    return record
  }

  async createService(input: ServiceInput): Promise<ServiceRecord> {
    if (input.fully_transparent === true && input.requires_interface !== true)
      throw new TransparentRequiresInterfaceError()
    const id = this.#document.id()
    const record = { ...serviceRecord(0, 'a', 'b'), name: id, ...input, id }
    this.#document.services.set(id, record)
    this.#document.changed()
    return record
  }

  async updateService(id: string, patch: ServicePatch): Promise<ServiceRecord> {
    const record = { ...this.#document.services.get(id)!, ...patch }
    this.#document.services.set(id, record)
    this.#document.changed()
    return record
  }

  async deleteService(id: string): Promise<void> {
    if (!this.#document.services.delete(id)) throw new ServiceNotFoundError(id)
    for (const route of this.#document.routes.values())
      if (route.service_id === id) this.#document.routes.delete(route.id)
    this.#document.changed()
  }

  async addRoutes(serviceId: string, inputs: RouteInput[]): Promise<RouteRecord[]> {
    const records = inputs.map((input) => ({
      id: this.#document.id(),
      service_id: serviceId,
      source_cidr: input.source_cidr ?? null,
      dest_cidr: input.dest_cidr ?? null,
      priority: input.priority ?? 100
    }))
    for (const record of records) this.#document.routes.set(record.id, record)
    this.#document.changed()
    return records
  }

  async updateRoute(_serviceId: string, id: string, patch: RoutePatch): Promise<RouteRecord> {
    const record = { ...this.#document.routes.get(id)!, ...patch }
    this.#document.routes.set(id, record)
    this.#document.changed()
    return record
  }

  async note(note: ActorNote): Promise<void> {
    if (!this.#document.view.members.has(this.#self)) throw new NotInClusterError()
    if (this.diskFull) throw new UnavailableError('the disk is full')
    this.#document.notes.push({ author: this.#self, ...note })
  }

  async deleteRoute(_serviceId: string, id: string): Promise<void> {
    this.#document.routes.delete(id)
    this.#document.changed()
  }

  async createToken(input: TokenInput): Promise<{ record: TokenRecord; text: string }> {
    const [id, secret] = [this.#document.id(), new Uint8Array(32).fill(7)]
    const record = newToken(input, id, secret, Date.now())
    this.#document.tokens.set(id, record)
    this.#document.changed()
    return { record, text: formatToken(id, secret) }
  }

  async revokeToken(id: string): Promise<void> {
    if (!this.#document.tokens.delete(id)) throw new TokenNotFoundError(id)
    this.#document.changed()
  }

  async setPolicy(patch: Partial<Policy>): Promise<Policy> {
    this.#document.policy = { ...this.#document.policy, ...patch }
    this.#document.changed()
    return this.#document.policy
  }
}
