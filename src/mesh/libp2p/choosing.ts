import { UnsupportedProtocolError, type Stream } from '@libp2p/interface'
import { concat } from 'uint8arrays'

/**
 * A stream's protocol is chosen in one message each way: who asks says the header of multistream-select and a name in one, as libp2p
 * does, and is answered with both in one. libp2p answers each by itself and reads each length and each line for itself, which is a third
 * of what a small stream costs. The bytes are the same. What is asked in any other way is for libp2p to answer.
 *
 * Source: multistream-select 1.0.0, github.com/multiformats/multistream-select. Lines: length as a varint, text, newline.
 */
const line = (text: string): Buffer => {
  const bytes = Buffer.from(`${text}\n`)
  const { length } = bytes
  return Buffer.concat([Buffer.from(length < 0x80 ? [length] : [0x80 | (length & 0x7f), length >> 7]), bytes])
}
const HEADER = line('/multistream/1.0.0')
const REFUSAL = Buffer.concat([HEADER, line('na')])
/** Only what this agent serves or asks for itself is here. */
const chosen = new Map<string, Buffer>()

function choiceOf(protocol: string): Buffer {
  let bytes = chosen.get(protocol)
  if (bytes == null) chosen.set(protocol, (bytes = Buffer.concat([HEADER, line(protocol)])))
  return bytes
}

/** The protocol, one of `served`, that the first message asks for, answered; null when it asks in another way: it is back in the stream then. */
export async function answerAtOnce(
  stream: Stream,
  served: readonly string[],
  { signal }: { signal: AbortSignal }
): Promise<string | null> {
  const protocol = await hear(stream, signal, (bytes) => {
    const asked = served.find((one) => startsWith(bytes, choiceOf(one)))
    return { answer: asked ?? null, used: asked == null ? 0 : choiceOf(asked).byteLength }
  })
  if (protocol != null) stream.send(choiceOf(protocol))
  return protocol
}

/** Asks for one protocol. UnsupportedProtocolError when the other side has it not; the stream is of no use then, nor after any other error. */
export async function ask(stream: Stream, protocol: string, { signal }: { signal: AbortSignal }): Promise<void> {
  const wish = choiceOf(protocol)
  const answered = hear(stream, signal, (bytes) => {
    if (startsWith(bytes, wish)) return { answer: true, used: wish.byteLength }
    if (startsWith(wish, bytes)) return null
    if (startsWith(bytes, REFUSAL)) return { answer: false, used: bytes.byteLength }
    if (startsWith(REFUSAL, bytes)) return null
    throw new Error('the choice of a protocol was answered with something else')
  })
  // It is waited for below.
  answered.catch(() => {})
  stream.send(wish)
  if (!(await answered)) throw new UnsupportedProtocolError(`the other side does not speak ${protocol}`)
}

const startsWith = (bytes: Uint8Array, beginning: Uint8Array): boolean =>
  bytes.byteLength >= beginning.byteLength && Buffer.compare(bytes.subarray(0, beginning.byteLength), beginning) === 0

/** Gives `judge` all that has come until it has an answer; what that did not use stays in the stream. */
function hear<T>(
  stream: Stream,
  signal: AbortSignal,
  judge: (bytes: Uint8Array) => { answer: T; used: number } | null
): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>()
  let held: Uint8Array = new Uint8Array(0)
  const onMessage = ({ data }: { data: { subarray(): Uint8Array } }): void => {
    held = held.byteLength === 0 ? data.subarray() : concat([held, data.subarray()])
    try {
      const verdict = judge(held)
      if (verdict == null) return
      settle()
      if (verdict.used < held.byteLength) stream.unshift(held.subarray(verdict.used))
      resolve(verdict.answer)
    } catch (error) {
      settle()
      reject(error as Error)
    }
  }
  const onGone = (): void => {
    settle()
    reject(new Error('the stream ended while its protocol was chosen'))
  }
  const onAbort = (): void => {
    settle()
    reject(signal.reason as Error)
  }
  const settle = (): void => {
    stream.removeEventListener('message', onMessage)
    stream.removeEventListener('close', onGone)
    stream.removeEventListener('remoteCloseWrite', onGone)
    signal.removeEventListener('abort', onAbort)
  }
  stream.addEventListener('message', onMessage)
  stream.addEventListener('close', onGone)
  stream.addEventListener('remoteCloseWrite', onGone)
  signal.addEventListener('abort', onAbort, { once: true })
  if (signal.aborted) onAbort()
  return promise
}
