import { KINDS, type Kind } from './document.ts'
import type { Touch } from './touch.ts'

/** Records that changes have touched, each held once, by numbers in the order in which they were first named. */
export class TouchNames {
  readonly #touches: Touch[] = []
  readonly #numbers = new Map<Kind, Map<string, number>>(KINDS.map((kind) => [kind, new Map()]))

  numberOf(kind: Kind, id: string): number {
    const numbers = this.#numbers.get(kind) as Map<string, number>
    let number = numbers.get(id)
    if (number == null) numbers.set(id, (number = this.#touches.push({ kind, id }) - 1))
    return number
  }

  /** The same object each time, for a number that {@link numberOf} has given. */
  at(number: number): Touch {
    return this.#touches[number] as Touch
  }

  one(kind: Kind, id: string): Touch {
    return this.at(this.numberOf(kind, id))
  }
}
