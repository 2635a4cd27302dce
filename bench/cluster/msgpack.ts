/**
 * As much of MessagePack as serf's RPC speaks: maps, arrays, texts, whole numbers, booleans, nil. Its bytes are texts of
 * the old kind, read here as Latin-1. Source: github.com/msgpack/msgpack, spec.md.
 */
export type Value = null | boolean | number | string | Value[] | { [key: string]: Value }

export function encode(value: Value): Buffer {
  if (value === null) return Buffer.of(0xc0)
  if (typeof value === 'boolean') return Buffer.of(value ? 0xc3 : 0xc2)
  if (typeof value === 'number') {
    const bytes = Buffer.alloc(5, 0xce)
    bytes.writeUInt32BE(value, 1)
    return bytes
  }
  if (typeof value === 'string') {
    const text = Buffer.from(value, 'latin1')
    return Buffer.concat([Buffer.of(0xda, text.length >> 8, text.length & 255), text])
  }
  const [marker, items] = Array.isArray(value)
    ? [0xdc, value]
    : [0xde, Object.entries(value).flatMap(([key, item]): Value[] => [key, item])]
  const count = Array.isArray(value) ? items.length : items.length / 2
  return Buffer.concat([Buffer.of(marker, count >> 8, count & 255), ...items.map(encode)])
}

/** The first value and where it ends; null when it is not whole yet. Throws on a type that is not among these. */
export function decode(bytes: Buffer, from = 0): { value: Value; end: number } | null {
  let at = from
  const need = (count: number): number => {
    if (at + count > bytes.length) throw NOT_WHOLE
    at += count
    return at - count
  }
  const number = (size: number): number => bytes.readUIntBE(need(size), size)
  const text = (length: number): string => {
    const begin = need(length)
    return bytes.toString('latin1', begin, begin + length)
  }
  const list = (count: number): Value[] => Array.from({ length: count }, read)
  const map = (count: number): Value =>
    Object.fromEntries(Array.from({ length: count }, (): [string, Value] => [keyOf(read()), read()]))
  const keyOf = (key: Value): string => (typeof key === 'string' ? key : JSON.stringify(key))

  function read(): Value {
    const type = number(1)
    if (type < 0x80) return type
    if (type < 0x90) return map(type & 15)
    if (type < 0xa0) return list(type & 15)
    if (type < 0xc0) return text(type & 31)
    if (type >= 0xe0) return type - 256
    switch (type) {
      case 0xc0:
        return null
      case 0xc2:
      case 0xc3:
        return type === 0xc3
      case 0xc4:
      case 0xd9:
        return text(number(1))
      case 0xc5:
      case 0xda:
        return text(number(2))
      case 0xc6:
      case 0xdb:
        return text(number(4))
      case 0xcc:
      case 0xd0:
        return number(1)
      case 0xcd:
      case 0xd1:
        return number(2)
      case 0xce:
      case 0xd2:
        return number(4)
      case 0xcf:
      case 0xd3:
        return Number(bytes.readBigUInt64BE(need(8)))
      case 0xdc:
        return list(number(2))
      case 0xde:
        return map(number(2))
      default:
        throw new Error(`MessagePack type 0x${type.toString(16)} is not read here`)
    }
  }

  try {
    return { value: read(), end: at }
  } catch (error) {
    if (error === NOT_WHOLE) return null
    throw error
  }
}

const NOT_WHOLE = new Error('not whole')
