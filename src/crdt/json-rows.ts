import { MalformedError } from './bytes.ts'
import { jsonChunkBytes } from './limits.ts'

/** A list of which no more is known than how long it is, and what comes next. */
export interface Rows<T> extends Iterable<T> {
  readonly length: number
}

/**
 * A JSON array in some bytes, which is read anew by each who walks it, a few kB at a time: what was read is garbage of the
 * nursery by the time that the next rows are. MalformedError at rows that are no JSON.
 */
export class JsonRows<T> implements Rows<T> {
  readonly length: number
  readonly #bytes: Buffer
  readonly #chunks: readonly Chunk[]

  /** The one whose `[` stands at `at`. MalformedError where it has no end. */
  static at(bytes: Buffer, at: number): { rows: JsonRows<unknown>; end: number } {
    const chunks: Chunk[] = []
    let next = afterSpace(bytes, at + 1)
    if (bytes[next] === LIST_END) return { rows: new JsonRows(bytes, chunks), end: next + 1 }
    for (let chunk: Chunk = { start: next, end: next, rows: 0 }; ; next = afterSpace(bytes, next + 1)) {
      const end = endOf(bytes, next)
      if (end - chunk.start > jsonChunkBytes && chunk.rows > 0) {
        chunks.push(chunk)
        chunk = { start: next, end, rows: 0 }
      }
      chunk.end = end
      chunk.rows++
      next = afterSpace(bytes, end)
      if (bytes[next] === COMMA) continue
      if (bytes[next] !== LIST_END) throw noJson()
      chunks.push(chunk)
      return { rows: new JsonRows(bytes, chunks), end: next + 1 }
    }
  }

  private constructor(bytes: Buffer, chunks: readonly Chunk[]) {
    this.#bytes = bytes
    this.#chunks = chunks
    this.length = chunks.reduce((sum, { rows }) => sum + rows, 0)
  }

  *[Symbol.iterator](): Generator<T> {
    for (const { start, end, rows } of this.#chunks) {
      const read = parsed(`[${this.#bytes.toString('utf8', start, end)}]`) as T[]
      if (read.length !== rows) throw noJson()
      yield* read
    }
  }
}

/** So many rows that follow each other. */
interface Chunk {
  start: number
  end: number
  rows: number
}

/** Which lists of an object are read as {@link JsonRows}, and of what is within it. */
export interface RowsIn {
  readonly [key: string]: true | RowsIn
}

/** The JSON object that these bytes are. What `rows` names may be something else all the same. MalformedError for no object. */
export function readObject(bytes: Uint8Array, rows: RowsIn): Record<string, unknown> {
  const all = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const start = afterSpace(all, 0)
  if (all[start] !== OBJECT) throw noJson()
  const { value, end } = objectAt(all, start, rows)
  if (afterSpace(all, end) < all.length) throw noJson()
  return value
}

function objectAt(bytes: Buffer, at: number, rows: RowsIn): { value: Record<string, unknown>; end: number } {
  const found: Array<[string, unknown]> = []
  let next = afterSpace(bytes, at + 1)
  if (bytes[next] === OBJECT_END) return { value: {}, end: next + 1 }
  for (;;) {
    if (bytes[next] !== QUOTE) throw noJson()
    const endOfKey = endOfText(bytes, next)
    const key = parsed(bytes.toString('utf8', next, endOfKey)) as string
    next = afterSpace(bytes, endOfKey)
    if (bytes[next] !== COLON) throw noJson()
    const { value, end } = valueAt(bytes, afterSpace(bytes, next + 1), Object.hasOwn(rows, key) ? rows[key] : undefined)
    found.push([key, value])
    next = afterSpace(bytes, end)
    if (bytes[next] === OBJECT_END) return { value: Object.fromEntries(found), end: next + 1 }
    if (bytes[next] !== COMMA) throw noJson()
    next = afterSpace(bytes, next + 1)
  }
}

function valueAt(bytes: Buffer, at: number, as: true | RowsIn | undefined): { value: unknown; end: number } {
  if (as === true && bytes[at] === LIST) {
    const { rows, end } = JsonRows.at(bytes, at)
    return { value: rows, end }
  }
  if (as != null && as !== true && bytes[at] === OBJECT) return objectAt(bytes, at, as)
  const end = endOf(bytes, at)
  return { value: parsed(bytes.toString('utf8', at, end)), end }
}

/** Where the value that begins at `at` ends, if it is one. */
function endOf(bytes: Buffer, at: number): number {
  const { length } = bytes
  let depth = 0
  for (let i = at; i < length;) {
    const byte = bytes[i] as number
    if (byte === QUOTE) {
      i = endOfText(bytes, i)
      if (depth === 0) return i
      continue
    }
    if (byte === LIST || byte === OBJECT) depth++
    else if (byte === LIST_END || byte === OBJECT_END) {
      if (depth === 0) return i > at ? i : never()
      if (--depth === 0) return i + 1
    } else if (depth === 0 && (byte === COMMA || isSpace(byte))) return i > at ? i : never()
    i++
  }
  throw noJson()
}

/** Behind the quote that ends the text whose first one stands at `at`. */
function endOfText(bytes: Buffer, at: number): number {
  const { length } = bytes
  for (let i = at + 1; i < length; i++) {
    const byte = bytes[i]
    if (byte === QUOTE) return i + 1
    if (byte === BACKSLASH) i++
  }
  throw noJson()
}

function afterSpace(bytes: Buffer, at: number): number {
  let next = at
  while (next < bytes.length && isSpace(bytes[next] as number)) next++
  return next
}

const isSpace = (byte: number): boolean => byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw noJson()
  }
}

const noJson = (): MalformedError => new MalformedError('it is no JSON')

function never(): never {
  throw noJson()
}

const [QUOTE, BACKSLASH, COMMA, COLON] = [0x22, 0x5c, 0x2c, 0x3a]
const [LIST, LIST_END, OBJECT, OBJECT_END] = [0x5b, 0x5d, 0x7b, 0x7d]
