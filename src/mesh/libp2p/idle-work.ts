import { TypedEventEmitter } from '@libp2p/interface'
import { LengthPrefixedDecoder } from '@libp2p/utils'

/**
 * Spares libp2p what it does with each message for nobody, which is a tenth of what a small message costs:
 *
 * 1. Once a decoder has handed out the last whole frame it asks for the length of the next one in what is left, nothing, and
 *    catches the error, whose stack costs as much as opening a small frame does.
 * 2. Each stream, and the two layers below it, make and dispatch an event whenever they have sent all, to nobody.
 */
export function spareIdleWork(): void {
  const decoders = LengthPrefixedDecoder.prototype
  if (decoders.decode !== decodeWhole) {
    decode = decoders.decode
    decoders.decode = decodeWhole
  }
  const emitters: Emitter = TypedEventEmitter.prototype
  if (emitters.safeDispatchEvent !== dispatchHeard) {
    dispatch = emitters.safeDispatchEvent
    emitters.safeDispatchEvent = dispatchHeard
  }
}

type Decoder = LengthPrefixedDecoder
type Emitter = Pick<TypedEventEmitter<Record<string, CustomEvent>>, 'listenerCount' | 'safeDispatchEvent'>

let decode: Decoder['decode'] | undefined
let dispatch: Emitter['safeDispatchEvent'] | undefined

function* decodeWhole(this: Decoder, ...data: Parameters<Decoder['decode']>): ReturnType<Decoder['decode']> {
  const { buffer } = this as unknown as { buffer: { byteLength: number } }
  for (const frame of decode!.apply(this, data)) {
    yield frame
    if (buffer.byteLength === 0) return
  }
}

function dispatchHeard(this: Emitter, type: string, ...detail: [object?]): boolean {
  return this.listenerCount(type) === 0 || dispatch!.call(this, type, ...detail)
}
