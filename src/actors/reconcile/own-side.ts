import { bothSides, type ViewDiff } from '../../crdt/diff.ts'
import type { PeerId, ServiceId } from '../../crdt/schema.ts'
import type { View } from '../../crdt/view.ts'
import type { DesiredPeer, DesiredState, InboundService, OutboundService } from '../../dataplane/desired.ts'
import { desiredFor, endpointsOf, peerSide, sourceSide, targetSide } from './desired.ts'
import { lowerBound } from '../../dataplane/sorted-list.ts'
import { byId } from '../../order.ts'

/**
 * This host's part of the view, kept in step by what changed in it: at any time `desired` equals `desiredFor` of the
 * whole view, at a cost that goes with the change. Only a change of members costs a look at all own services.
 */
export class OwnSide {
  readonly #self: PeerId
  /** Both in the order of ids. */
  #outbound: OutboundService[] = []
  #inbound: InboundService[] = []
  /** Own services, with this host's part and the other end. */
  readonly #sides = new Map<ServiceId, Side>()
  /** How many own services each other end has. */
  readonly #shared = new Map<PeerId, number>()
  #desired: DesiredState | null = null
  #member = false

  constructor(self: PeerId) {
    this.#self = self
  }

  /** Null before the first view. A new object when it asks for something else than before, and only then. */
  get desired(): DesiredState | null {
    return this.#desired
  }

  get size(): number {
    return this.#sides.size
  }

  ids(): IteratorObject<ServiceId> {
    return this.#sides.keys()
  }

  /** Null for a service of others. */
  sideOf(id: ServiceId): Side | null {
    return this.#sides.get(id) ?? null
  }

  /** Own services, each with the peer at its other end. */
  *partners(): Generator<[ServiceId, PeerId]> {
    for (const [id, { other }] of this.#sides) yield [id, other]
  }

  /** Peers at the other end of own services. */
  others(): ReadonlyMap<PeerId, number> {
    return this.#shared
  }

  /** Takes over a view; `changes` are those since the last one. Returns the own services that were touched. */
  update(view: View, changes: ViewDiff): ReadonlySet<ServiceId> {
    const member = view.members.has(this.#self)
    if (this.#desired == null || member !== this.#member) return this.#rebuild(view, member)
    const members = membersOf(changes)
    const touched = this.#touched(changes, members)
    const othersBefore = this.#shared.size
    let changed = false
    let regrouped = false
    if (member) {
      for (const id of touched) {
        const before = this.#sides.get(id)
        changed = this.#place(view, id) || changed
        regrouped ||= before?.other !== this.#sides.get(id)?.other
      }
    }
    const { peers, endpoints } = this.#desired
    const newPeers = members.size > 0 || regrouped || this.#shared.size !== othersBefore ? this.#peers(view) : peers
    const newEndpoints = members.size > 0 && member ? endpointsOf(view) : endpoints
    changed ||= JSON.stringify(newPeers) !== JSON.stringify(peers) || newEndpoints.join() !== endpoints.join()
    if (changed) this.#publish(newPeers, newEndpoints)
    return touched
  }

  #rebuild(view: View, member: boolean): ReadonlySet<ServiceId> {
    const touched = new Set(this.#sides.keys())
    const desired = desiredFor(this.#self, view)
    this.#member = member
    this.#sides.clear()
    this.#shared.clear()
    this.#outbound = desired.outbound
    this.#inbound = desired.inbound
    for (const { id, targetPeer } of desired.outbound) this.#join(id, { role: 'source', other: targetPeer })
    for (const { id, sourcePeer } of desired.inbound) this.#join(id, { role: 'target', other: sourcePeer })
    for (const id of this.#sides.keys()) touched.add(id)
    // Rare enough to compare all of it.
    if (JSON.stringify(desired) !== JSON.stringify(this.#desired)) this.#publish(desired.peers, desired.endpoints)
    return touched
  }

  #publish(peers: DesiredPeer[], endpoints: string[]): void {
    this.#desired = { self: this.#self, peers, outbound: [...this.#outbound], inbound: [...this.#inbound], endpoints }
  }

  /** Own services whose wish may differ now, gone ones included. */
  #touched({ services, routes }: ViewDiff, members: ReadonlySet<PeerId>): Set<ServiceId> {
    const touched = new Set<ServiceId>()
    const consider = (id: ServiceId, ...ends: PeerId[]): void => {
      if (this.#sides.has(id) || ends.includes(this.#self)) touched.add(id)
    }
    for (const { id, source_peer_id: source, target_peer_id: target } of services.added) consider(id, source, target)
    for (const { id, after } of services.changed) consider(id, after.source_peer_id, after.target_peer_id)
    for (const { id } of services.removed) consider(id)
    for (const { service_id: id } of [...routes.added, ...routes.removed]) consider(id)
    for (const { service_id: id } of routes.changed.flatMap(bothSides)) consider(id)
    if (members.size > 0) {
      const all = members.has(this.#self)
      for (const [id, { other }] of this.#sides) if (all || members.has(other)) touched.add(id)
    }
    return touched
  }

  /** Puts one service where it belongs; true when the desired state is another one by that. */
  #place(view: View, id: ServiceId): boolean {
    const before = this.#sides.get(id)
    const service = view.services.get(id)
    const own = service != null && (service.source_peer_id === this.#self || service.target_peer_id === this.#self)
    const role = service?.source_peer_id === this.#self ? 'source' : 'target'
    const moved = before != null && (!own || before.role !== role)
    let changed = moved
    if (before != null && moved) remove(before.role === 'source' ? this.#outbound : this.#inbound, id)
    if (before != null) this.#leave(id, before)
    if (!own) return changed
    if (role === 'source') {
      changed = put(this.#outbound, sourceSide(view, service)) || changed
      this.#join(id, { role, other: service.target_peer_id })
    } else {
      changed = put(this.#inbound, targetSide(view, service)) || changed
      this.#join(id, { role, other: service.source_peer_id })
    }
    return changed
  }

  #join(id: ServiceId, side: Side): void {
    this.#sides.set(id, side)
    this.#shared.set(side.other, (this.#shared.get(side.other) ?? 0) + 1)
  }

  #leave(id: ServiceId, { other }: Side): void {
    this.#sides.delete(id)
    const left = (this.#shared.get(other) ?? 0) - 1
    if (left > 0) this.#shared.set(other, left)
    else this.#shared.delete(other)
  }

  #peers(view: View): DesiredPeer[] {
    return [...this.#shared.keys()].sort().flatMap((id) => peerSide(view, id))
  }
}

export interface Side {
  role: 'source' | 'target'
  /** The other end. */
  other: PeerId
}

const membersOf = ({ members: { added, removed, changed } }: ViewDiff): Set<PeerId> =>
  new Set([...added, ...removed, ...changed].map(({ id }) => id))

/** Into a list in the order of ids; true unless an entry of the same spec was there. */
function put<T extends { id: string; spec: string }>(list: T[], entry: T): boolean {
  const at = lowerBound(list, entry, byId)
  const held = list[at]
  if (held?.id !== entry.id) list.splice(at, 0, entry)
  else if (held.spec === entry.spec) return false
  else list[at] = entry
  return true
}

function remove(list: Array<{ id: string }>, id: string): void {
  const at = lowerBound(list, { id }, byId)
  if (list[at]?.id === id) list.splice(at, 1)
}
