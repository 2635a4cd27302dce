import { ByteReader, hex, MalformedError } from './bytes.ts'
import { readBooleans, readColumn, readDeltas, readRuns, readString, readUnsigned } from './columns.ts'
import type { Operation, Operations } from './document.ts'
import { changeOperationsMax } from './limits.ts'

/**
 * What a change does, read without Automerge, which is several times as slow and checks less: a change of some hundred
 * bytes can name more operations than memory holds.
 *
 * 1. `operations`: it is made of what records are made of, in the one form in which Automerge writes it.
 * 2. null: only Automerge can tell; nothing in it is longer than it may be.
 * 3. MalformedError: it is too long, cut short, or in a form that Automerge never writes.
 *
 * Format: see `chunk.ts`. Head | start number | time | message | other actors | columns (specification, length) | their
 * data | anything.
 */
export function readOperations(chunk: Uint8Array): Operations | null {
  const reader = new ByteReader(chunk)
  const { actor, isPlain } = readHead(reader)
  const start = reader.uleb()
  const time = reader.sleb()
  const message = reader.utf8(reader.uleb())
  const actors = [actor, ...Array.from({ length: bounded(reader.uleb()) }, () => hex(reader.take(reader.uleb())))]
  const columns = readColumns(reader)
  if (start === 0) throw new MalformedError('its operations have no number')
  const list = readRows(readTable(columns), actors, start)
  const isOrdinary = isPlain && time === 0 && reader.left === 0
  if (!isOrdinary || list == null || start + list.length > NUMBER_MAX) return null
  return { start, list, message: message === '' ? null : message, isPlain: true }
}

/** Beyond it Automerge counts with fewer bits than it reads. */
const NUMBER_MAX = 0x7fffffff
const ACTIONS = ['makeMap', 'set', 'makeList', 'del']

function readHead(reader: ByteReader): { actor: string; isPlain: boolean } {
  reader.take(9)
  reader.uleb()
  const deps = Array.from({ length: bounded(reader.uleb()) }, () => hex(reader.take(32)))
  const actor = hex(reader.take(reader.uleb()))
  reader.uleb()
  return { actor, isPlain: deps.every((dep, i) => i === 0 || (deps[i - 1] as string) < dep) }
}

/** Of each column its data; MalformedError for one that operations do not have. */
function readColumns(reader: ByteReader): Map<number, ByteReader> {
  const heads = Array.from({ length: bounded(reader.uleb()) }, () => [reader.uleb(), reader.uleb()] as const)
  let before = -1
  const columns = new Map<number, ByteReader>()
  for (const [specification, length] of heads) {
    if (!SPECIFICATIONS.has(specification)) throw new MalformedError('it has a column that operations do not have')
    if (specification <= before || length === 0) throw new MalformedError('its columns are not in order')
    before = specification
    columns.set(specification, new ByteReader(reader.take(length)))
  }
  return columns
}

/** Specification of a column: its number × 16, and its type. */
const COLUMN = {
  objectActor: 0x01,
  objectNumber: 0x02,
  keyActor: 0x11,
  keyNumber: 0x13,
  key: 0x15,
  insert: 0x34,
  action: 0x42,
  valueKind: 0x56,
  value: 0x57,
  replacesCount: 0x70,
  replacesActor: 0x71,
  replacesNumber: 0x73,
  expand: 0x94,
  mark: 0xa5
}
const SPECIFICATIONS: ReadonlySet<number> = new Set(Object.values(COLUMN))

/** The values of all columns, as many as there are operations. MalformedError when they do not go together. */
function readTable(columns: ReadonlyMap<number, ByteReader>): Table {
  const actions = readRuns(columns.get(COLUMN.action) ?? EMPTY, changeOperationsMax, readUnsigned)
  const count = actions.length
  const numbers = (specification: number, length = count): Numbers =>
    readColumn(columns.get(specification), length, readUnsigned)
  const deltas = (specification: number, length = count): Numbers => readDeltas(columns.get(specification), length)
  const table = {
    actions: whole(actions),
    objects: { actors: numbers(COLUMN.objectActor), numbers: numbers(COLUMN.objectNumber) },
    elements: { actors: numbers(COLUMN.keyActor), numbers: deltas(COLUMN.keyNumber) },
    keys: readColumn(columns.get(COLUMN.key), count, readString),
    inserts: readBooleans(columns.get(COLUMN.insert) ?? EMPTY, count),
    kinds: whole(numbers(COLUMN.valueKind)),
    values: columns.get(COLUMN.value) ?? EMPTY,
    replaced: whole(numbers(COLUMN.replacesCount)),
    // Of texts, which are in no record: known for their length, and for being there.
    isMarked: columns.has(COLUMN.expand) || columns.has(COLUMN.mark)
  }
  readColumn(columns.get(COLUMN.mark), count, readString)
  const expands = columns.get(COLUMN.expand)
  if (expands != null) readBooleans(expands, count)
  const length = bounded(table.replaced.reduce((sum, one) => sum + one, 0))
  return {
    ...table,
    replaces: { actors: numbers(COLUMN.replacesActor, length), numbers: deltas(COLUMN.replacesNumber, length) }
  }
}

interface Table {
  actions: number[]
  objects: Names
  elements: Names
  keys: Array<string | null>
  inserts: boolean[]
  kinds: number[]
  /** What the operations set, one value after the other. */
  values: ByteReader
  /** How many names of `replaces` each operation has. */
  replaced: number[]
  replaces: Names
  isMarked: boolean
}
type Numbers = Array<number | null>
interface Names {
  actors: Numbers
  numbers: Numbers
}

/** null when only Automerge can tell. */
function readRows(table: Table, actors: readonly string[], start: number): Operation[] | null {
  const names = new OperationNames(actors)
  const list: Operation[] = []
  let isPlain = !table.isMarked
  let next = 0
  for (const [i, number] of table.actions.entries()) {
    const action = ACTIONS[number]
    const object = names.read(table.objects, i)
    const key = table.keys[i] ?? null
    const element = readElement(names, table, i)
    const end = next + (table.replaced[i] as number)
    const replaces = names.readMany(table.replaces, next, end)
    next = end
    const value = readValue(table.values, table.kinds[i] as number)
    // A map's key is set, an element of a list is inserted or set; nothing but "set" has a value.
    isPlain &&= !(key != null && table.inserts[i] === true) && (action === 'set' || value === null)
    if (action == null || object == null || (key ?? element) == null || replaces == null || value === UNKNOWN) {
      isPlain = false
    } else if (isPlain) {
      const set = action === 'set' ? value : undefined
      const insert = table.inserts[i] === true
      list.push({ id: `${start + i}@${actors[0]}`, action, object, key, element, insert, replaces, value: set })
    }
  }
  table.values.end()
  return isPlain && names.areAllNamed ? list : null
}

/** The element of a list that an operation changes; null for a map's. */
function readElement(names: OperationNames, { keys, elements }: Table, i: number): string | null {
  const isNamed = elements.actors[i] != null || elements.numbers[i] != null
  if (keys[i] != null) {
    if (isNamed) throw new MalformedError('an operation is of a map and of a list')
    return null
  }
  if (!isNamed) throw new MalformedError('an operation changes nothing that is named')
  return elements.actors[i] == null && elements.numbers[i] === 0 ? '_head' : names.read(elements, i)
}

/** Names of operations, `number@actor`, as a change writes them: actors by their place in its list. */
class OperationNames {
  readonly #actors: readonly string[]
  readonly #named = new Set([0])

  constructor(actors: readonly string[]) {
    this.#actors = actors
  }

  /** Each actor but the author stands in the list because it is named, in their order. */
  get areAllNamed(): boolean {
    const areOrdered = this.#actors.every((actor, i) => i < 2 || (this.#actors[i - 1] as string) < actor)
    return areOrdered && this.#named.size === this.#actors.length && !this.#actors.includes(this.#actors[0] ?? '', 1)
  }

  /** `_root` where none stands; null for one that Automerge may read in another way. */
  read({ actors, numbers }: Names, i: number): string | null {
    const [place, number] = [actors[i] ?? null, numbers[i] ?? null]
    if (place == null && number == null) return '_root'
    const actor = this.#actors[place ?? -1]
    if (place == null || actor == null || number == null || number < 0)
      throw new MalformedError('it names no operation')
    this.#named.add(place)
    return number > 0 && number <= NUMBER_MAX ? `${number}@${actor}` : null
  }

  /** From `first` up to `end`; null as in {@link read}, or when they are not in their order. */
  readMany(names: Names, first: number, end: number): string[] | null {
    const found: string[] = []
    let isPlain = true
    for (let i = first; i < end; i++) {
      const name = this.read(names, i)
      if (name == null || name === '_root' || (i > first && !this.#isBefore(names, i - 1, i))) isPlain = false
      else found.push(name)
    }
    return isPlain ? found : null
  }

  #isBefore({ actors, numbers }: Names, one: number, other: number): boolean {
    const [a, b] = [numbers[one] as number, numbers[other] as number]
    const actorOf = (i: number): string => this.#actors[actors[i] as number] as string
    return a < b || (a === b && actorOf(one) < actorOf(other))
  }
}

/** A value that only Automerge can read. */
const UNKNOWN = Symbol('unknown')

/** `kind`: its length in bytes × 16, and its type. Numbers without a fraction are written as floats too. */
function readValue(values: ByteReader, kind: number): string | number | boolean | null | typeof UNKNOWN {
  const [type, length] = [kind % 16, Math.floor(kind / 16)]
  if (type <= 2) {
    if (length > 0) throw new MalformedError('a value that needs no bytes has some')
    return type === 0 ? null : type === 2
  }
  const bytes = new ByteReader(values.take(length))
  if (type === 6) return bytes.utf8(length)
  if (type === 5 && length === 8) {
    const value = bytes.float()
    return Number.isSafeInteger(value) && !Object.is(value, -0) ? value : UNKNOWN
  }
  if (type > 4 || length > NUMBER_BYTES_MAX) return UNKNOWN
  const value = type === 3 ? bytes.uleb() : bytes.sleb()
  bytes.end()
  return value
}

/** Of LEB128, so that every number with as many is below 2^53. */
const NUMBER_BYTES_MAX = 7

const EMPTY = new ByteReader(new Uint8Array())

function whole(numbers: Numbers): number[] {
  if (numbers.includes(null)) throw new MalformedError('a number is missing')
  return numbers as number[]
}

function bounded(count: number): number {
  if (count > changeOperationsMax) throw new MalformedError(`it has more than ${changeOperationsMax} of something`)
  return count
}
