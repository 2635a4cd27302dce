/** Reading and writing the crdt's own binary formats. Big endian; a reader throws {@link MalformedError}, never more. */

export class MalformedError extends Error {}

export class ByteReader {
  readonly bytes: Uint8Array
  offset = 0

  constructor(bytes: Uint8Array) {
    this.bytes = bytes
  }

  get left(): number {
    return this.bytes.length - this.offset
  }

  /** A view, not a copy. */
  take(length: number): Uint8Array {
    if (length > this.left) throw new MalformedError('it is cut short')
    this.offset += length
    return this.bytes.subarray(this.offset - length, this.offset)
  }

  u8(): number {
    const byte = this.bytes[this.offset]
    if (byte == null) throw new MalformedError('it is cut short')
    this.offset++
    return byte
  }

  u16(): number {
    return (this.u8() << 8) | this.u8()
  }

  u32(): number {
    return this.u16() * 0x10000 + this.u16()
  }

  /** Eight bytes that hold an integer below 2^53. */
  u53(): number {
    const high = this.u32()
    if (high >= 0x200000) throw new MalformedError('a number is out of range')
    return high * 0x100000000 + this.u32()
  }

  /** UTF-8 with its length in 16 bits. */
  text(): string {
    return this.utf8(this.u16())
  }

  /** So many bytes of UTF-8. */
  utf8(length: number): string {
    const bytes = this.take(length)
    try {
      return UTF8.decode(bytes)
    } catch {
      throw new MalformedError('a text is not UTF-8')
    }
  }

  /** Unsigned LEB128, in its shortest form, below 2^53. */
  uleb(): number {
    let value = 0
    for (let scale = 1; ; scale *= 128) {
      const byte = this.u8()
      value += (byte & 0x7f) * scale
      if (value > Number.MAX_SAFE_INTEGER) throw new MalformedError('a number is out of range')
      if (byte < 0x80) {
        if (byte === 0 && scale > 1) throw new MalformedError('a number is not in its shortest form')
        return value
      }
      if (scale > 2 ** 49) throw new MalformedError('a number is out of range')
    }
  }

  /** Signed LEB128, in its shortest form, of a magnitude below 2^53. */
  sleb(): number {
    let value = 0
    for (let scale = 1; ; scale *= 128) {
      const byte = this.u8()
      const isLast = byte < 0x80
      const bits = byte & 0x7f
      const isNegative = isLast && (bits & 0x40) !== 0
      value += (isNegative ? bits - 0x80 : bits) * scale
      if (Math.abs(value) > Number.MAX_SAFE_INTEGER) throw new MalformedError('a number is out of range')
      if (isLast) {
        // The last group repeats the sign of the one before it: it could be left out.
        const before = scale > 1 ? (this.bytes[this.offset - 2] as number) & 0x40 : null
        if ((bits === 0 && before === 0) || (bits === 0x7f && before === 0x40)) {
          throw new MalformedError('a number is not in its shortest form')
        }
        return value
      }
      if (scale > 2 ** 49) throw new MalformedError('a number is out of range')
    }
  }

  /** IEEE 754, eight bytes, little endian. */
  float(): number {
    const { buffer, byteOffset } = this.take(8)
    return new DataView(buffer, byteOffset).getFloat64(0, true)
  }

  end(): void {
    if (this.left > 0) throw new MalformedError(`${this.left} bytes follow its end`)
  }
}

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

export const u8 = (value: number): Uint8Array => Uint8Array.of(value)

export function u16(value: number): Uint8Array {
  return Uint8Array.of(value >>> 8, value & 0xff)
}

export function u32(value: number): Uint8Array {
  return Uint8Array.of(value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff)
}

export function u53(value: number): Uint8Array {
  if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`${value} is not an integer below 2^53`)
  return concat([u32(Math.floor(value / 0x100000000)), u32(value % 0x100000000)])
}

export function text(value: string): Uint8Array {
  const bytes = new TextEncoder().encode(value)
  if (bytes.length > 0xffff) throw new RangeError('text is too long for its length field')
  return concat([u16(bytes.length), bytes])
}

export function uleb(value: number): Uint8Array {
  const bytes: number[] = []
  do {
    const low = value % 128
    value = Math.floor(value / 128)
    bytes.push(value > 0 ? low | 0x80 : low)
  } while (value > 0)
  return Uint8Array.from(bytes)
}

/** Bytes as one, or in pieces that follow each other. */
export type Pieces = Uint8Array | readonly Uint8Array[]

export const piecesOf = (bytes: Pieces): readonly Uint8Array[] => (bytes instanceof Uint8Array ? [bytes] : bytes)

export const sizeOf = (parts: readonly Uint8Array[]): number => parts.reduce((sum, { length }) => sum + length, 0)

/** Of its own memory, whatever they are a part of. A Buffer, as files and messages come in, has a `slice` that copies nothing. */
export const copyOf = (bytes: Uint8Array): Uint8Array => new Uint8Array(bytes)

/** A copy of all of them. */
export function concat(parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(sizeOf(parts))
  let offset = 0
  for (const part of parts) {
    out.set(part, offset)
    offset += part.length
  }
  return out
}

export const equalBytes = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0

export const hex = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex')
