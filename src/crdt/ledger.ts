import { FIRST, parseAuthEntry, type AuthEntry } from './authlog.ts'
import { MalformedError } from './bytes.ts'
import { parseChunk } from './chunk.ts'
import { canonicalOperationsOf, GENESIS_OPERATIONS, operationsOf, type Operations } from './document.ts'
import type { Envelope } from './envelope.ts'
import { Entries, type AuthorizedEntry, type Entry, type NewEntry, type PageSizes } from './entries.ts'
import { EquivocationError, provenFrom } from './evidence.ts'
import { GENESIS_ACTOR, type Genesis } from './genesis.ts'
import { madeRecords, type MadeRecord } from './made-records.ts'
import type { VersionVector } from './replicated.ts'
import type { PeerId } from './schema.ts'
import type { OpenScratch } from './scratch.ts'
import { NumberList } from './number-list.ts'
import { TouchIndex } from './touch.ts'
import { hex } from './bytes.ts'

/**
 * The set of envelopes that this peer holds, in the order of its log. Invariants:
 *
 * 1. It only grows (but for what a failed disk takes back from its end).
 * 2. An envelope is held only once all before it are: its author's previous one, the changes it names, and an admission
 *    of its author. So the log can be read from front to back, and no sequence number is missing.
 * 3. Holding says nothing of being valid: that is the fold's business, and it may change when more is held.
 * 4. Of an author that was proven to sign two things as one, everything is held that anybody built on: from the number
 *    in question on its envelopes stand side by side, whatever number they bear, and none of them is ever valid.
 */
export class Ledger {
  readonly genesis: Genesis
  readonly touches = new TouchIndex()
  readonly entries: Entries
  readonly #auth: AuthorizedEntry[] = []
  /** Per actor the indices of its entries, in the order of their numbers. */
  readonly #byActor = new Map<string, NumberList>()
  /** Hash of each author's last auth entry. */
  readonly #lastAuth = new Map<PeerId, string>()
  /** Peers named by any admission, and how often. */
  readonly #named = new Map<PeerId, number>()
  /** Actors that were proven to use a number twice: the number, and the entry with the proof. */
  readonly #proven = new Map<string, { from: number; proof: Entry }>()
  /** Entries of such actors that have no place of their own among the actor's. */
  #loose: Entry[] = []
  readonly #genesisHash: string

  /** `open`: where entries are that memory does not hold; left out: it holds all. */
  constructor(genesis: Genesis, open?: OpenScratch, sizes?: PageSizes) {
    this.genesis = genesis
    this.entries = new Entries(this.touches.names, open, sizes)
    this.#genesisHash = hex(parseChunk(genesis.chunk).hash)
    this.#named.set(genesis.founder, 1)
  }

  /** Those of the auth log, in the order of the log. */
  authEntries(): readonly AuthorizedEntry[] {
    return this.#auth
  }

  get(hash: string): Entry | undefined {
    return this.entries.get(hash)
  }

  at(actor: string, seq: number): Entry | undefined {
    const held = this.#byActor.get(actor)
    return held != null && seq >= 1 && seq <= held.length ? this.entries.at(held.at(seq - 1)) : undefined
  }

  /** True for an entry that has its number to itself. */
  hasPlace({ actor, seq, index }: Entry): boolean {
    return this.at(actor, seq)?.index === index
  }

  /** How many envelopes of an actor are held; the next one's sequence number is one more. */
  count(actor: string): number {
    return this.#byActor.get(actor)?.length ?? 0
  }

  /** From which number on an actor's envelopes prove nothing; null for an actor that nothing is proven of. */
  provenFrom(actor: string): number | null {
    return this.#proven.get(actor)?.from ?? null
  }

  provenActors(): Iterable<string> {
    return this.#proven.keys()
  }

  /** All actors of a peer, and the last number held of each. */
  cutOf(peer: PeerId): Map<string, number> {
    const cut = new Map<string, number>()
    for (const [actor, held] of this.#byActor) {
      if (this.at(actor, 1)?.authorId !== peer) continue
      const from = this.provenFrom(actor)
      cut.set(actor, from == null ? held.length : Math.min(held.length, from - 1))
    }
    return cut
  }

  lastAuth(author: PeerId): string {
    return this.#lastAuth.get(author) ?? FIRST
  }

  /** True when some admission names the peer, whether or not it counts. */
  isNamed(peer: PeerId): boolean {
    return this.#named.has(peer)
  }

  /** What of the first `count` entries somebody with `vector` misses, in the order of the log. */
  *missing(vector: VersionVector, count: number): Generator<Entry> {
    let first = count
    for (const [actor, entries] of this.#byActor) {
      const held = vector[actor] ?? 0
      const next = Number.isSafeInteger(held) && held > 0 ? held : 0
      if (next < entries.length) first = Math.min(first, entries.at(next))
    }
    for (const { index } of this.#loose) if (index < first) first = index
    for (let i = first; i < count; i++) {
      const entry = this.entries.at(i) as Entry
      if (entry.seq > (vector[entry.actor] ?? 0)) yield entry
    }
  }

  /**
   * What a parsed, verified envelope still waits for, as a key that {@link provides} names once it is there; null when
   * it can be added. MalformedError when it can never be.
   */
  waitsFor(item: Unheld): string | null {
    const { envelope, auth } = item
    if (!this.isNamed(envelope.authorId)) return `author ${envelope.authorId}`
    const held = this.count(envelope.actor)
    const isProven = envelope.seq >= (this.provenFrom(envelope.actor) ?? Infinity)
    const twin = this.at(envelope.actor, envelope.seq)
    if (twin != null && !isProven) {
      const what = `its author signed another envelope under the same sequence number ${envelope.seq}`
      throw new EquivocationError(twin, what)
    }
    if (envelope.seq > held + 1 && !isProven) return `seq ${envelope.actor} ${envelope.seq - 1}`
    if (auth != null) return this.#waitsForPrevious(envelope, auth)
    const missing = envelope.deps.find((dep) => dep !== this.#genesisHash && this.entries.get(dep) == null)
    if (missing != null) return `hash ${missing}`
    for (const operation of (item.foreign ??= foreignOperations(item))) {
      if (this.#makerOf(operation) === undefined) return `operations ${operation.actor}`
    }
    return null
  }

  /** Appends one that waits for nothing. */
  add(item: Unheld): Entry {
    const { envelope, auth, operations } = item
    const { touches, forbidden, needsAdmin } =
      operations == null ? NO_TOUCHES : this.touches.add(operations.list, envelope.authorId, this.entries.length)
    const { actor, seq, writtenAt, hash, bytes } = envelope
    const deps = new Map<number, Entry>()
    for (const dep of envelope.deps) {
      const before = this.entries.get(dep)
      if (before != null) deps.set(before.index, before)
    }
    for (const operation of (item.foreign ??= foreignOperations(item))) {
      const maker = this.#makerOf(operation)
      if (maker != null) deps.set(maker.index, maker)
    }
    return this.hold({
      actor,
      seq,
      writtenAt,
      hash,
      dependencies: [...deps.keys()],
      firstOperation: operations?.start ?? 0,
      operationCount: operations?.list.length ?? 0,
      auth,
      touches,
      ...(operations == null || this.isInOrder({ actor, seq, firstOperation: operations.start }, deps.values())
        ? { operations, made: item.made }
        : NOT_READ),
      forbidden,
      needsAdmin,
      valid: false,
      offset: 0,
      length: bytes.length,
      bytes
    })
  }

  /** Whether a change's operations are numbered after all that it builds on, as those of an honest author are. */
  isInOrder(
    { actor, seq, firstOperation }: Pick<Entry, 'actor' | 'seq' | 'firstOperation'>,
    deps: Iterable<Entry>
  ): boolean {
    const before = this.at(actor, seq - 1)
    const isAfter = (one: Entry): boolean => one.firstOperation + one.operationCount <= firstOperation
    return (before == null || isAfter(before)) && Iterator.from(deps).every(isAfter)
  }

  /** Appends an entry that was held before, by an earlier start. */
  hold(item: NewEntry): Entry {
    const { actor, auth, hash, seq } = item
    const entry = this.entries.add(item)
    if (seq !== this.count(actor) + 1) this.#loose.push(entry)
    else {
      if (seq === 1) this.#byActor.set(actor, new NumberList())
      this.#byActor.get(actor)?.push(entry.index)
    }
    if (auth != null) {
      this.#auth.push(entry as AuthorizedEntry)
      this.#lastAuth.set(entry.authorId, hash)
      if (auth.operation === 'admit') this.#named.set(auth.peer, (this.#named.get(auth.peer) ?? 0) + 1)
      this.#prove(entry)
    }
    return entry
  }

  /** What waited for this entry may go on: the keys of {@link waitsFor} that it answers. */
  provides(entry: Entry): string[] {
    const keys = [`seq ${entry.actor} ${entry.seq}`, `hash ${entry.hash}`]
    if (entry.kind === 'change') keys.push(`operations ${entry.actor}`)
    else if (entry.auth?.operation === 'admit') keys.push(`author ${entry.auth.peer}`)
    else if (entry.auth?.operation === 'proof') {
      for (const actor of provenFrom(entry.auth).keys()) keys.push(`operations ${actor}`)
    }
    return keys
  }

  /** Forgets all entries from `count` on: they did not reach the disk. */
  cut(count: number): void {
    this.#loose = this.#loose.filter(({ index }) => index < count)
    for (const entry of this.entries.slice(count).reverse()) {
      const { actor, seq, auth } = entry
      if (this.hasPlace(entry)) this.#byActor.get(actor)?.cut(seq - 1)
      if (auth == null) continue
      this.#auth.pop()
      this.#lastAuth.set(entry.authorId, auth.previous)
      if (auth.operation !== 'admit') continue
      const named = (this.#named.get(auth.peer) ?? 1) - 1
      if (named === 0) this.#named.delete(auth.peer)
      else this.#named.set(auth.peer, named)
    }
    this.entries.cut(count)
    this.touches.cut(count)
    this.#proven.clear()
    for (const entry of this.#auth) this.#prove(entry)
  }

  /** The change that holds an operation that one of the entries names; null for one of the genesis. */
  makerOf(name: string): Entry | null {
    const [number, actor = ''] = name.split('@')
    return this.#makerOf({ number: Number(number), actor }) ?? null
  }

  /**
   * The entry that holds an operation; null for the genesis, undefined as long as it may still come. MalformedError when
   * its actor never made it.
   */
  #makerOf({ actor, number }: OperationName): Entry | null | undefined {
    if (actor === GENESIS_ACTOR) {
      if (number >= 1 && number <= GENESIS_OPERATIONS) return null
      throw new MalformedError('it names an operation that does not exist')
    }
    const proven = this.#proven.get(actor)
    const count = Math.min(this.count(actor), (proven?.from ?? Infinity) - 1)
    let low = 0
    let high = count
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.at(actor, middle + 1) as Entry).firstOperation <= number) low = middle + 1
      else high = middle
    }
    const found = this.at(actor, low)
    if (found != null && number < found.firstOperation + found.operationCount) return found
    // Whatever it is, it is nothing that counts, and so nothing that is built on it does.
    if (proven != null) return proven.proof
    if (low === count) return undefined
    throw new MalformedError('it names an operation that does not exist')
  }

  #waitsForPrevious(envelope: Envelope, { previous }: AuthEntry): string | null {
    if (previous === this.lastAuth(envelope.authorId)) return null
    if (previous !== FIRST && this.entries.get(previous) == null) return `hash ${previous}`
    // Its author has been found out already: the entries stand side by side.
    if ([...this.#proven.values()].some(({ proof }) => proof.auth?.peer === envelope.authorId)) return null
    const twin = this.entries.find(
      ({ authorId, auth }) => authorId === envelope.authorId && auth?.previous === previous
    )
    if (twin == null) throw new MalformedError('it does not follow the last auth entry of its author')
    throw new EquivocationError(twin, 'its author signed another entry of the auth log at the same place')
  }

  #prove(entry: Entry): void {
    if (entry.auth?.operation !== 'proof') return
    for (const [actor, seq] of provenFrom(entry.auth)) {
      if (seq < (this.provenFrom(actor) ?? Infinity)) this.#proven.set(actor, { from: seq, proof: entry })
    }
  }
}

/** Automerge alone can tell what comes of it. */
const NOT_READ = { operations: null, made: [] }
const NO_TOUCHES = { touches: [], forbidden: null, needsAdmin: false }

/** An envelope that is verified and fully read, but not held yet. */
export interface Unheld {
  envelope: Envelope
  auth: AuthEntry | null
  operations: Operations | null
  made: readonly MadeRecord[]
  /** The operations of other changes that it names, once they have been looked for. */
  foreign?: OperationName[]
}

/**
 * Reads what is inside a verified envelope. `own`: made or checked here before. MalformedError when it is nothing that
 * this version can hold.
 */
export function openEnvelope(envelope: Envelope, { own }: { own: boolean }): Unheld {
  const nothing: Unheld = { envelope, auth: null, operations: null, made: [] }
  if (envelope.kind === 'auth') return { ...nothing, auth: parseAuthEntry(envelope) }
  if (envelope.kind !== 'change') return nothing
  let operations: Operations | null
  try {
    operations = own ? operationsOf(envelope.body) : canonicalOperationsOf(envelope.body)
  } catch {
    throw new MalformedError('the change inside cannot be read')
  }
  if (operations == null) throw new MalformedError('the change inside is not in its one proper form')
  return { envelope, auth: null, operations, made: madeRecords(operations) }
}

interface OperationName {
  number: number
  actor: string
}

/** The operations of other changes that a change names, each once. MalformedError for a name that is none. */
function foreignOperations({ envelope, operations }: Unheld): OperationName[] {
  if (operations == null) return []
  const names = new Set<string>()
  for (const { object, element, replaces } of operations.list) {
    if (object !== '_root') names.add(object)
    if (element != null && element !== '_head') names.add(element)
    for (const name of replaces) names.add(name)
  }
  const found: OperationName[] = []
  for (const name of names) {
    const [number, actor] = name.split('@')
    if (actor == null || !/^[1-9]\d{0,14}$/.test(number ?? '')) throw new MalformedError('it names no operation')
    // Within one change what is named must come before; what comes after is found to be no object, or no number yet.
    if (actor === envelope.actor && Number(number) >= operations.start) {
      if (Number(number) < operations.start + operations.list.length) continue
      throw new MalformedError('it names an operation that does not exist')
    }
    found.push({ number: Number(number), actor })
  }
  return found
}
