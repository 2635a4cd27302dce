import { HASH_SEED, mixed, RowPlaces } from './row-places.ts'
import { WordRows } from './word-rows.ts'

/** Of an object that a change made. */
export interface PlacedRow {
  isMap: boolean
  /** The number of the record that it is, or is in; -1 for none. */
  owner: number
  /** The field that it is the value of; null for a record itself, '' for what is deeper within one. */
  field: string | null
  /** The index of the entry that has made it; -1 for what was there before all of them. */
  maker: number
}

/**
 * Objects that changes have made, by their names, which are those of the operations: `number@actor`. There is one for each record that
 * ever was, so each is a row of words and its place among others, some 28 bytes; actors and fields are few.
 *
 *   row = operation | number of its actor | owner + 1 | field × 2, and 1 for a map | maker + 1
 *
 * Another text can be the name of one too, in what others hand over: it stands for an actor, with the operation 0.
 */
export class PlacedObjects {
  readonly #rows = new WordRows(5)
  readonly #places = new RowPlaces((row) => hashOf(this.#rows.at(row, AT.operation), this.#rows.at(row, AT.actor)))
  readonly #actors = new Words()
  readonly #fields = new Words()
  /** Of a name that has come twice, what was there before. */
  readonly #replaced: Array<{ row: number; before: readonly number[] }> = []
  /** What is looked for. */
  #operation = 0
  #actor = 0
  readonly #isWanted = (row: number): boolean =>
    this.#rows.at(row, AT.operation) === this.#operation && this.#rows.at(row, AT.actor) === this.#actor
  /** What was found last: most operations of a change are on one object. */
  #lastName: string | null = null
  #lastRow = -1

  get length(): number {
    return this.#rows.length
  }

  /** -1 for one that is not there. */
  find(name: string): number {
    if (name !== this.#lastName) {
      const [operation, actor] = partsOf(name)
      this.#lastRow = this.#find(operation, actor)
      this.#lastName = name
    }
    return this.#lastRow
  }

  nameOf(row: number): string {
    const [operation, actor] = [this.#rows.at(row, AT.operation), this.#actors.at(this.#rows.at(row, AT.actor))]
    return operation === 0 ? actor : `${operation}@${actor}`
  }

  isMapAt(row: number): boolean {
    return this.#rows.at(row, AT.field) % 2 === 1
  }

  /** As {@link PlacedRow.owner}. */
  ownerAt(row: number): number {
    return this.#rows.at(row, AT.owner) - 1
  }

  fieldAt(row: number): string | null {
    const field = this.#rows.at(row, AT.field) >>> 1
    return field === 0 ? null : this.#fields.at(field - 1)
  }

  /** Puts one in, in the place of another one of its name. */
  set(name: string, { isMap, owner, field, maker }: PlacedRow): void {
    const [operation, actor] = partsOf(name)
    const place = field == null ? 0 : this.#fields.numberOf(field) + 1
    const values = [operation, this.#actors.numberOf(actor), owner + 1, 2 * place + (isMap ? 1 : 0), maker + 1]
    let row = this.#find(operation, actor)
    if (row < 0) {
      row = this.#rows.add(values)
      this.#places.add()
    } else {
      this.#replaced.push({ row, before: values.map((_, column) => this.#rows.at(row, column)) })
      this.#rows.set(row, values)
    }
    this.#lastRow = row
    this.#lastName = name
  }

  /** Forgets what entries from index `end` on have made. */
  cut(end: number): void {
    this.#lastName = null
    for (let last = this.#replaced.at(-1); last != null && this.#isFrom(last.row, end); last = this.#replaced.at(-1)) {
      this.#rows.set(last.row, last.before)
      this.#replaced.pop()
    }
    let { length } = this.#rows
    while (length > 0 && this.#isFrom(length - 1, end)) length--
    this.#rows.cut(length)
    this.#places.cut(length)
  }

  #isFrom(row: number, end: number): boolean {
    return this.#rows.at(row, AT.maker) > end
  }

  #find(operation: number, actor: string): number {
    const number = this.#actors.find(actor)
    if (number < 0) return -1
    this.#operation = operation
    this.#actor = number
    return this.#places.find(hashOf(operation, number), this.#isWanted)
  }
}

/** Few texts that are named often. */
class Words {
  readonly #all: string[] = []
  readonly #numbers = new Map<string, number>()

  at(number: number): string {
    return this.#all[number] as string
  }

  /** -1 for one that has none. */
  find(word: string): number {
    return this.#numbers.get(word) ?? -1
  }

  numberOf(word: string): number {
    let number = this.#numbers.get(word)
    if (number == null) this.#numbers.set(word, (number = this.#all.push(word) - 1))
    return number
  }
}

const AT = { operation: 0, actor: 1, owner: 2, field: 3, maker: 4 }
const OPERATION_MAX = 0xffff_ffff

const hashOf = (operation: number, actor: number): number => mixed(mixed(HASH_SEED, operation), actor)

/** Any other text than an operation's name is in the place of its actor. */
function partsOf(name: string): [operation: number, actor: string] {
  const at = name.indexOf('@')
  if (at < 1 || at > 10 || name.charCodeAt(0) === 0x30) return [0, name]
  let operation = 0
  for (let i = 0; i < at; i++) {
    const digit = name.charCodeAt(i) - 0x30
    if (!(digit >= 0 && digit <= 9)) return [0, name]
    operation = operation * 10 + digit
  }
  return operation > OPERATION_MAX ? [0, name] : [operation, name.slice(at + 1)]
}
