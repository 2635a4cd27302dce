import { type ByteReader, MalformedError } from './bytes.ts'

/**
 * The columns in which an Automerge change keeps its operations: of each one its values, in the one form in which
 * Automerge writes them. MalformedError for any other, although Automerge may take it.
 * Source: automerge.org/automerge-binary-format-spec.
 *
 * Runs: a length (signed LEB128) and the value that is repeated; or a negative length and as many different values; or 0
 * and how many values are missing. A column in which all are missing is left out.
 */

/** `max`: values that it may hold. What is missing is null. */
export function readRuns<T>(column: ByteReader, max: number, read: (column: ByteReader) => T): Array<T | null> {
  const values: Array<T | null> = []
  let before: 'nothing' | 'run' | 'literal' | 'nulls' = 'nothing'
  while (column.left > 0) {
    const length = column.sleb()
    const count = length === 0 ? column.uleb() : Math.abs(length)
    if (count > max - values.length) throw new MalformedError('a column is longer than it may be')
    let last = values.at(-1)
    if (length > 0) {
      const value = read(column)
      if (count === 1 || value === last) throw new MalformedError('a run could be longer')
      for (let i = 0; i < count; i++) values.push(value)
      before = 'run'
    } else if (length < 0) {
      if (before === 'literal') throw new MalformedError('a run could be longer')
      for (let i = 0; i < count; i++) {
        const value = read(column)
        if (value === last) throw new MalformedError('a run could be longer')
        values.push(value)
        last = value
      }
      before = 'literal'
    } else {
      if (count === 0 || before === 'nulls') throw new MalformedError('a run could be longer')
      for (let i = 0; i < count; i++) values.push(null)
      before = 'nulls'
    }
  }
  if (before === 'nulls' && values.every((value) => value === null)) throw new MalformedError('a column is of nothing')
  return values
}

/** A column of so many values, or one that was left out. */
export function readColumn<T>(
  column: ByteReader | undefined,
  count: number,
  read: (column: ByteReader) => T
): Array<T | null> {
  if (column == null) return Array.from({ length: count }, () => null)
  const values = readRuns(column, count, read)
  if (values.length !== count) throw new MalformedError('a column has another length than the one beside it')
  return values
}

/** Numbers that are kept as what each adds to the one before it. */
export function readDeltas(column: ByteReader | undefined, count: number): Array<number | null> {
  let sum = 0
  return readColumn(column, count, readSigned).map((delta) => (delta == null ? null : (sum += delta)))
}

/** Lengths of runs, of false and true in turn. */
export function readBooleans(column: ByteReader, count: number): boolean[] {
  const values: boolean[] = []
  for (let value = false; column.left > 0; value = !value) {
    const length = column.uleb()
    if (length > count - values.length) throw new MalformedError('a column is longer than it may be')
    if (length === 0 && (value || values.length > 0)) throw new MalformedError('a run could be longer')
    for (let i = 0; i < length; i++) values.push(value)
  }
  if (values.length !== count) throw new MalformedError('a column has another length than the one beside it')
  return values
}

export const readUnsigned = (column: ByteReader): number => column.uleb()
const readSigned = (column: ByteReader): number => column.sleb()
export const readString = (column: ByteReader): string => column.utf8(column.uleb())
