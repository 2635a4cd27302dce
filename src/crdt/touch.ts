import { GENESIS_OBJECTS, KINDS, type Kind, type Operation } from './document.ts'
import { PlacedObjects } from './placed-objects.ts'
import type { PeerId } from './schema.ts'
import { TouchNames } from './touch-names.ts'

/** A record that a change writes. */
export interface Touch {
  kind: Kind
  id: string
}

/** Of an object that a change made. */
interface Place {
  isMap: boolean
  /** The record that it is, or is in. */
  owner: Touch | null
  /** The field that it is the value of; null for a record itself, '' for what is deeper within one. */
  field: string | null
}

/** An object and its place, as a snapshot keeps it: its id, what it is, the record and the field that it is in. */
export type PlacedObject = [id: string, isMap: 0 | 1, kind: Kind | null, owner: string | null, field: string | null]

/** What the state is made of. Counters, texts and marks are in no record, and Automerge guards them less well. */
const ACTIONS = ['makeMap', 'makeList', 'set', 'del']

/**
 * Which records a change touches, and whether it may. Automerge's operations name objects by the operation that made
 * them; so each object made inside a record is remembered, of valid and invalid changes alike, since what it belongs to
 * never depends on who is a member.
 */
export class TouchIndex {
  readonly names: TouchNames = new TouchNames()
  readonly objects = new PlacedObjects()

  /** Where an object stands that an operation made; undefined for one that is not known. */
  placeOf(object: string): Place | undefined {
    const row = this.objects.find(object)
    if (row < 0) return undefined
    return { isMap: this.objects.isMapAt(row), owner: this.#ownerAt(row), field: this.objects.fieldAt(row) }
  }

  /** All that is known. */
  *placed(): Generator<PlacedObject> {
    const { objects } = this
    for (let row = 0; row < objects.length; row++) {
      const owner = this.#ownerAt(row)
      const isMap = objects.isMapAt(row) ? 1 : 0
      yield [objects.nameOf(row), isMap, owner?.kind ?? null, owner?.id ?? null, objects.fieldAt(row)]
    }
  }

  restore(objects: Iterable<PlacedObject>): void {
    for (const [id, isMap, kind, owner, field] of objects) {
      const number = kind == null || owner == null ? -1 : this.names.numberOf(kind, owner)
      this.objects.set(id, { isMap: isMap === 1, owner: number, field, maker: -1 })
    }
  }

  /** Forgets the objects that entries from index `count` on have made. */
  cut(count: number): void {
    this.objects.cut(count)
  }

  /**
   * `forbidden` is why the change must never be applied, whoever its author is; null when it may be. `needsAdmin`: it
   * touches more than its author's own peer record. `entry`: the index that the change will have.
   */
  add(
    operations: Operation[],
    author: PeerId,
    entry: number
  ): { touches: Touch[]; forbidden: string | null; needsAdmin: boolean } {
    const touches = new Map<string, Touch>()
    let forbidden: string | null = null
    let needsAdmin = false
    for (const { id, action, object, key } of operations) {
      const touch = this.#targetOf(object, key)
      if (typeof touch === 'string') forbidden = touch
      else if (action.startsWith('make')) {
        const field = GENESIS_OBJECTS.has(object) ? null : this.#isRecord(object) ? (key ?? '') : ''
        const owner = touch == null ? -1 : this.names.numberOf(touch.kind, touch.id)
        this.objects.set(id, { isMap: action === 'makeMap', owner, field, maker: entry })
      }
      if (!ACTIONS.includes(action)) forbidden = `it holds an operation "${action}", which no record needs`
      if (touch == null || typeof touch === 'string') {
        needsAdmin = true
        continue
      }
      touches.set(`${touch.kind}/${touch.id}`, touch)
      if (touch.kind === 'peers' && touch.id === author) continue
      needsAdmin = true
      // An admin may give a peer another name, and no more.
      const renames = action === 'set' && key === 'name' && this.#isRecord(object)
      if (touch.kind === 'peers' && !renames) forbidden = `it writes the record of another peer, ${touch.id}`
    }
    return { touches: [...touches.values()], forbidden, needsAdmin }
  }

  /**
   * The record that a key of an object, or an element if there is no key, belongs to; null for what newer versions keep
   * beside the kinds known here; or why nobody may write it.
   */
  #targetOf(object: string, key: string | null): Touch | null | string {
    const known = this.placeOf(object)
    if ((known?.isMap ?? true) !== (key != null)) return 'it takes a map for a list or a list for a map'
    if (key == null) return known?.owner ?? null
    if (object === '_root') return (KINDS as readonly string[]).includes(key) ? `it replaces all ${key}` : null
    const made = GENESIS_OBJECTS.get(object)
    if (made?.isBucket === false) return `it replaces many ${made.kind} at once`
    if (made != null) return { kind: made.kind, id: key }
    return known == null ? `it writes into ${object}, which is no object` : known.owner
  }

  /** True for a map that a change made as a record, or a list in the place of one. */
  #isRecord(object: string): boolean {
    const row = this.objects.find(object)
    return row >= 0 && this.objects.fieldAt(row) === null
  }

  #ownerAt(row: number): Touch | null {
    const owner = this.objects.ownerAt(row)
    return owner < 0 ? null : this.names.at(owner)
  }
}
