import { GENESIS_OBJECTS, KINDS, type Kind, type Operation } from './document.ts'
import type { PeerId } from './schema.ts'

/** A record that a change writes. */
export interface Touch {
  kind: Kind
  id: string
}

/** What the state is made of. Counters, texts and marks are in no record, and Automerge guards them less well. */
const ACTIONS = ['makeMap', 'makeList', 'set', 'del']

/**
 * Which records a change touches, and whether it may. Automerge's operations name objects by the operation that made
 * them; so each object made inside a record is remembered, of valid and invalid changes alike, since what it belongs to
 * never depends on who is a member.
 */
export class TouchIndex {
  /** Objects by the operation that made them, and what they belong to. */
  readonly #objects = new Map<string, { isMap: boolean; owner: Touch | null }>()

  /** `forbidden` is why the change must never be applied, whoever its author is; null when it may be. */
  add(operations: Operation[], author: PeerId): { touches: Touch[]; forbidden: string | null } {
    const touches = new Map<string, Touch>()
    let forbidden: string | null = null
    for (const { id, action, object, key } of operations) {
      const touch = this.#targetOf(object, key)
      if (typeof touch === 'string') forbidden = touch
      else if (action.startsWith('make')) this.#objects.set(id, { isMap: action === 'makeMap', owner: touch })
      if (!ACTIONS.includes(action)) forbidden = `it holds an operation "${action}", which no record needs`
      if (touch == null || typeof touch === 'string') continue
      touches.set(`${touch.kind}/${touch.id}`, touch)
      if (touch.kind === 'peers' && touch.id !== author) forbidden = `it writes the record of another peer, ${touch.id}`
    }
    return { touches: [...touches.values()], forbidden }
  }

  /**
   * The record that a key of an object, or an element if there is no key, belongs to; null for what newer versions keep
   * beside the kinds known here; or why nobody may write it.
   */
  #targetOf(object: string, key: string | null): Touch | null | string {
    const known = this.#objects.get(object)
    if ((known?.isMap ?? true) !== (key != null)) return 'it takes a map for a list or a list for a map'
    if (key == null) return known?.owner ?? null
    if (object === '_root') return (KINDS as readonly string[]).includes(key) ? `it replaces all ${key}` : null
    const made = GENESIS_OBJECTS.get(object)
    if (made?.isBucket === false) return `it replaces many ${made.kind} at once`
    if (made != null) return { kind: made.kind, id: key }
    return known == null ? `it writes into ${object}, which is no object` : known.owner
  }
}
