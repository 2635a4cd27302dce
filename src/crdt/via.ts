import { MalformedError, type ByteReader } from './bytes.ts'
import { viaLengthMax } from './limits.ts'

/** On whose behalf something was made, as its author says: a text that stands only where somebody with a token asked. */
export function readVia(reader: ByteReader): string {
  const via = reader.text()
  if (via === '' || via.length > viaLengthMax) throw new MalformedError('it does not say well who asked')
  return via
}
