import type { PeerId } from '../crdt/schema.ts'
import type { InboundService, OutboundService } from './desired.ts'
import { serviceDeviceName } from './devices.ts'
import type { HostFacts } from './interfaces.ts'
import { MappedList } from './mapped-list.ts'
import { byId } from '../order.ts'
import { TableMaker, type RoutedService, type RouteTable } from './route-table.ts'
import type { SteeredService } from './ruleset.ts'
import { merged } from './sorted-list.ts'
import { splicesOf } from './splices.ts'

/**
 * What was planned of services before, so that what is left of the next plan goes with what has changed. Of one host. A plan comes
 * out the same with it as without it.
 */
export class PlanMemory {
  readonly outbound = new ServiceSet<OutboundService>(({ targetPeer }) => targetPeer)
  readonly inbound = new ServiceSet<InboundService>(({ sourcePeer }) => sourcePeer)
  readonly table = new TableMaker()
  readonly routed = new MappedList(({ id, interface: device, routes }: OutboundService): RoutedService => ({
    id,
    device: device == null ? null : serviceDeviceName(id),
    routes
  }))
  readonly steered: MappedList<OutboundService, SteeredService>
  readonly #covers = new Map<PeerId, { table: TableMaker; routed: MappedList<InboundService, RoutedService> }>()
  /** Of the plan before, for as long as they say the same. */
  #indexes: ReadonlyMap<PeerId, number> = new Map()
  #steer: (service: OutboundService) => SteeredService = () => {
    throw new TypeError('nothing is steered yet')
  }

  constructor() {
    this.steered = new MappedList((service) => this.#steer(service))
  }

  /** Each of these services as the ruleset has it, by a function of the service, these indexes and these facts. */
  steeredServices(
    live: readonly OutboundService[],
    indexes: ReadonlyMap<PeerId, number>,
    facts: HostFacts,
    steer: (service: OutboundService) => SteeredService
  ): readonly SteeredService[] {
    this.#steer = steer
    if (!sameEntries(this.#indexes, indexes)) this.#indexes = indexes
    return this.steered.of(live, [this.#indexes, facts])
  }

  /** What may come out of each peer's tunnel. */
  coversOf(peer: PeerId, services: readonly InboundService[]): RouteTable {
    let covers = this.#covers.get(peer)
    if (covers == null)
      this.#covers.set(peer, (covers = { table: new TableMaker('always'), routed: new MappedList(covering) }))
    return covers.table.make(covers.routed.of(services), NO_HOST)
  }

  /** Forgets the peers that are not among these. */
  keepPeers(peers: ReadonlyMap<PeerId, number>): void {
    for (const peer of this.#covers.keys()) if (!peers.has(peer)) this.#covers.delete(peer)
  }
}

const NO_HOST = { own: [], attached: [] }

const covering = ({ id, routes }: InboundService): RoutedService => ({ id, device: null, routes })

function sameEntries<K, V>(a: ReadonlyMap<K, V>, b: ReadonlyMap<K, V>): boolean {
  if (a.size !== b.size) return false
  const other = b.entries()
  for (const [key, value] of a) {
    const [otherKey, otherValue] = other.next().value as [K, V]
    if (otherKey !== key || otherValue !== value) return false
  }
  return true
}

/** A list of services that is told anew at every change, and what is to be known of all of them. */
export class ServiceSet<S extends OutboundService | InboundService> {
  readonly #peerOf: (service: S) => PeerId
  #all: readonly S[] = []
  #byPeer = new Map<PeerId, readonly S[]>()
  readonly #odd = new Set<S>()
  #transparent = 0

  constructor(peerOf: (service: S) => PeerId) {
    this.#peerOf = peerOf
  }

  update(all: readonly S[]): this {
    const splices = splicesOf(this.#all, all)
    this.#all = all
    const gone = splices.flatMap(({ removed }) => removed)
    const come = splices.flatMap(({ inserted }) => inserted)
    const [less, more] = [Map.groupBy(gone, this.#peerOf), Map.groupBy(come, this.#peerOf)]
    for (const peer of new Set([...less.keys(), ...more.keys()])) {
      const left = merged(this.#byPeer.get(peer) ?? [], less.get(peer) ?? [], more.get(peer) ?? [], byId)
      if (left.length > 0) this.#byPeer.set(peer, left)
      else this.#byPeer.delete(peer)
    }
    for (const service of gone) {
      this.#odd.delete(service)
      if (service.fullyTransparent) this.#transparent--
    }
    for (const service of come) {
      if (isOdd(service)) this.#odd.add(service)
      if (service.fullyTransparent) this.#transparent++
    }
    return this
  }

  get peers(): Iterable<PeerId> {
    return this.#byPeer.keys()
  }

  /** In the order of ids. */
  of(peer: PeerId): readonly S[] {
    return this.#byPeer.get(peer) ?? []
  }

  /** Those of which more has to be known than their peer: with a device, or with an id that names nothing. In the order of the list. */
  get odd(): readonly S[] {
    return this.#odd.size === 0 ? [] : this.#all.filter((service) => this.#odd.has(service))
  }

  get hasTransparent(): boolean {
    return this.#transparent > 0
  }
}

const isOdd = (service: OutboundService | InboundService): boolean =>
  !hasGoodId(service) || ('interface' in service && service.interface != null)

/** Ids become names in the kernel. One that cannot must fail alone, not hold up all others. */
const ID = /^[0-9A-Za-z]{1,32}$/
export const hasGoodId = ({ id }: OutboundService | InboundService): boolean => ID.test(id)
