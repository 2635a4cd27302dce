import { GENESIS_OBJECTS, KINDS, type Kind, type Operation } from './document.ts'
import type { PeerId } from './schema.ts'

/** A record that a change writes. */
export interface Touch {
  kind: Kind
  id: string
}

/**
 * Which records a change touches, and whether it may. Automerge's operations name objects by the operation that made
 * them; so each object made inside a record is remembered, of valid and invalid changes alike, since what it belongs to
 * never depends on who is a member.
 */
export class TouchIndex {
  readonly #owners = new Map<string, Touch>()

  /** `forbidden` is why the change must never be applied, whoever its author is; null when it may be. */
  add(operations: Operation[], author: PeerId): { touches: Touch[]; forbidden: string | null } {
    const touches = new Map<string, Touch>()
    let forbidden: string | null = null
    for (const { id, object, key, makes } of operations) {
      if (object === '_root') {
        // A newer agent may keep other things beside ours; ours would be hidden for good.
        if ((KINDS as readonly string[]).includes(key)) forbidden = `it replaces all ${key}`
        continue
      }
      const made = GENESIS_OBJECTS.get(object)
      if (made?.isBucket === false) {
        forbidden = `it replaces many ${made.kind} at once`
        continue
      }
      const touch = made == null ? this.#owners.get(object) : { kind: made.kind, id: key }
      if (touch == null) continue
      if (makes) this.#owners.set(id, touch)
      touches.set(`${touch.kind}/${touch.id}`, touch)
      if (touch.kind === 'peers' && touch.id !== author) forbidden = `it writes the record of another peer, ${touch.id}`
    }
    return { touches: [...touches.values()], forbidden }
  }
}
