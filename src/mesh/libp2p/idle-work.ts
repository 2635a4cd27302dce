import { TypedEventEmitter } from '@libp2p/interface'
import { LengthPrefixedDecoder } from '@libp2p/utils'

/**
 * Spares libp2p what it does with each message for nobody, which is a tenth of what a small message costs:
 *
 * 1. Once a decoder has handed out the last whole frame it asks for the length of the next one in what is left, nothing, and
 *    catches the error, whose stack costs as much as opening a small frame does. Where frames come whole, as nearly all do, they are
 *    taken from what has come, and nothing is put together from pieces.
 * 2. Each stream, and the two layers below it, make and dispatch an event whenever they have sent all, to nobody.
 */
export function spareIdleWork(): void {
  const decoders = LengthPrefixedDecoder.prototype
  if (decoders.decode !== (decodeWhole as Decoder['decode'])) {
    decode = decoders.decode
    decoders.decode = decodeWhole as Decoder['decode']
  }
  const emitters: Emitter = TypedEventEmitter.prototype
  if (emitters.safeDispatchEvent !== dispatchHeard) {
    dispatch = emitters.safeDispatchEvent
    emitters.safeDispatchEvent = dispatchHeard
  }
}

type Decoder = LengthPrefixedDecoder
type Bytes = Parameters<Decoder['decode']>[0]
type Emitter = Pick<TypedEventEmitter<Record<string, CustomEvent>>, 'listenerCount' | 'safeDispatchEvent'>

let decode: Decoder['decode'] | undefined
let dispatch: Emitter['safeDispatchEvent'] | undefined

/** A decoder with its inner parts. */
interface Frames {
  buffer: { byteLength: number }
  maxBufferSize: number
  maxDataLength: number
  lengthDecoder(bytes: Uint8Array): number
  encodingLength(length: number): number
}

function decodeWhole(this: Decoder, ...data: Parameters<Decoder['decode']>): Iterable<Bytes> {
  const frames = this as unknown as Frames
  const bytes = data[0].subarray()
  if (frames.buffer.byteLength > 0 || bytes.byteLength > frames.maxBufferSize) return decodePieces.call(this, data)
  const whole: Uint8Array[] = []
  let at = 0
  while (at < bytes.byteLength) {
    const rest = at === 0 ? bytes : bytes.subarray(at)
    const length = lengthIn(frames, rest)
    const from = length == null ? 0 : frames.encodingLength(length)
    // What is no length is for libp2p to refuse.
    if (length == null || length < 0 || length > frames.maxDataLength || from + length > rest.byteLength) break
    if (length > 0) whole.push(rest.subarray(from, from + length))
    at += from + length
  }
  if (at === bytes.byteLength) return whole
  const rest = bytes.subarray(at)
  return whole.length === 0 ? decodePieces.call(this, [rest]) : [...whole, ...decodePieces.call(this, [rest])]
}

/** Null when it has not come in full. */
function lengthIn({ lengthDecoder }: Frames, bytes: Uint8Array): number | null {
  try {
    return lengthDecoder(bytes)
  } catch (error) {
    if (error instanceof RangeError) return null
    throw error
  }
}

function* decodePieces(this: Decoder, data: Parameters<Decoder['decode']>): Generator<Bytes> {
  const { buffer } = this as unknown as Frames
  for (const frame of decode!.apply(this, data)) {
    yield frame
    if (buffer.byteLength === 0) return
  }
}

function dispatchHeard(this: Emitter, type: string, ...detail: [object?]): boolean {
  return this.listenerCount(type) === 0 || dispatch!.call(this, type, ...detail)
}
