import { MalformedError } from './bytes.ts'
import { KINDS, type Kind } from './document.ts'
import { packUlid, unpackUlid } from './ids.ts'
import { HASH_SEED, mixed, RowPlaces } from './row-places.ts'
import type { Touch } from './touch.ts'
import { WordRows } from './word-rows.ts'

/**
 * Records that changes have touched, each held once, by numbers in the order in which they were first named. Most are gone, so what
 * is held of one is a row of words and its place among others, some 28 bytes.
 *
 *   row = kind × 2, and 1 for a ULID | its 128 bits, or the number of another id
 */
export class TouchNames {
  readonly #rows = new WordRows(WIDTH)
  readonly #places = new RowPlaces((row) => this.#hashOf(row))
  /** Ids that are no ULIDs: peers', and what honest agents do not write. */
  readonly #others: string[] = []
  /** Of some that were asked for, by the last bits of their numbers: what is written is written again soon. */
  readonly #recent: Array<Recent | undefined> = []
  /** The last one of those: who has asked for a record names it next. */
  #last: Recent | null = null
  /** What was looked for last, as a row, and what was found. */
  #sought: { kind: Kind | null; id: string; found: number } = { kind: null, id: '', found: -1 }
  readonly #row = new Uint32Array(WIDTH)
  readonly #isWanted = (row: number): boolean => {
    const [rows, wanted] = [this.#rows, this.#row]
    if (rows.at(row, 0) !== wanted[0]) return false
    if (wanted[0] % 2 === 0) return this.#others[rows.at(row, 1)] === this.#sought.id
    // The last ones are those of chance.
    for (let i = WIDTH - 1; i > 0; i--) if (rows.at(row, i) !== wanted[i]) return false
    return true
  }

  /** Gives one when it has none. MalformedError for a kind that is not known here. */
  numberOf(kind: Kind, id: string): number {
    const found = this.find(kind, id)
    if (found >= 0) return found
    if (!KINDS.includes(kind)) throw new MalformedError(`there is no kind ${kind}`)
    if ((this.#row[0] as number) % 2 === 0) this.#row[1] = this.#others.push(id) - 1
    const number = this.#rows.add(this.#row)
    this.#places.add()
    return (this.#sought.found = number)
  }

  /** -1 for one that has none. */
  find(kind: Kind, id: string): number {
    const last = this.#last
    if (last != null && last.touch.id === id && last.touch.kind === kind) return last.number
    const sought = this.#sought
    if (sought.id === id && sought.kind === kind) return sought.found
    sought.id = id
    sought.kind = kind
    const isUlid = packUlid(id, this.#row, 1)
    const head = 2 * KINDS.indexOf(kind) + (isUlid ? 1 : 0)
    this.#row[0] = head
    const hash = isUlid ? hashOfWords(head, this.#row, 1) : hashOfText(head, id)
    return (sought.found = this.#places.find(hash, this.#isWanted))
  }

  /** For a number that {@link numberOf} has given. */
  at(number: number): Touch {
    const recent = this.#recent[number % RECENT]
    if (recent?.number === number) return (this.#last = recent).touch
    const rows = this.#rows
    const head = rows.at(number, 0)
    const id =
      head % 2 === 0
        ? (this.#others[rows.at(number, 1)] as string)
        : unpackUlid(rows.at(number, 1), rows.at(number, 2), rows.at(number, 3), rows.at(number, 4))
    const touch = { kind: KINDS[head >> 1] as Kind, id }
    this.#recent[number % RECENT] = this.#last = { number, touch }
    return touch
  }

  #hashOf(row: number): number {
    const head = this.#rows.at(row, 0)
    if (head % 2 === 0) return hashOfText(head, this.#others[this.#rows.at(row, 1)] as string)
    const words = this.#rows.blockOf(row)
    return hashOfWords(head, words, this.#rows.placeOf(row) + 1)
  }
}

interface Recent {
  number: number
  touch: Touch
}

const WIDTH = 5
const RECENT = 256

/** `at`: where its four words begin. */
function hashOfWords(head: number, words: Uint32Array, at: number): number {
  let hash = mixed(HASH_SEED, head)
  for (let i = at; i < at + WIDTH - 1; i++) hash = mixed(hash, words[i] as number)
  return hash
}

function hashOfText(head: number, text: string): number {
  let hash = mixed(HASH_SEED, head)
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x0100_0193)
  return mixed(hash, text.length)
}
