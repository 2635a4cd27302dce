import { InvalidRequestError } from '../../errors.ts'
import {
  actorAskerTextMax,
  actorDepthMax,
  actorEventFieldsMax,
  actorFrameBytesMax,
  actorPathTextMax,
  actorWordTextMax
} from '../limits.ts'

/**
 * Messages of the actor protocol: one type byte, the number of the request that it belongs to (u32, big endian), then
 * its content. JSON unless it says bytes.
 *
 *   asking side                                     answering side
 *   Q {what, path, of}   a question                 P bytes            a part of an answer, more follow
 *   S {path, event, by}  an event; tell what it did A bytes            the last part: together they are JSON
 *   T {path, event, by}  an event, no answer        E error            refused, as in the contract
 *   W {path}             every step; null: of all   U update           of a watch
 *   M {path}             its end                    D {status, reason} the end of a monitored actor
 *   X                    a watch or monitor is over
 *
 * W and M are answered (A or E) once, then their updates or their end follow under the same number.
 */
export type Request =
  | { type: 'ask'; id: number; what: string; path: string | null; of: unknown }
  | { type: 'send' | 'tell'; id: number; path: string; event: ActorEvent; by: string }
  | { type: 'watch'; id: number; path: string | null }
  | { type: 'monitor'; id: number; path: string }
  | { type: 'withdraw'; id: number }

export type Reply =
  | { type: 'part' | 'answer'; id: number; bytes: Uint8Array }
  | { type: 'refusal'; id: number; error: unknown }
  | { type: 'update'; id: number; update: unknown }
  | { type: 'ended'; id: number; notice: DeathNotice }

/** `type` and at most `actorEventFieldsMax` fields that are text, a number or true or false. */
export type ActorEvent = { type: string } & Record<string, unknown>

/** How a monitored actor ended; `unreachable`: nobody knows, because its peer cannot be asked any more. */
export interface DeathNotice {
  status: 'done' | 'error' | 'stopped' | 'unreachable'
  reason: string | null
}

/** `what`: a word that both agents know. `of`: whatever else it takes, as JSON. */
export interface Question {
  what: string
  path: string | null
  of?: unknown
}

const REQUESTS = {
  Q: 'ask',
  S: 'send',
  T: 'tell',
  W: 'watch',
  M: 'monitor',
  X: 'withdraw'
} as const satisfies Record<string, Request['type']>
const REPLIES = { P: 'part', A: 'answer', E: 'refusal', U: 'update', D: 'ended' } as const satisfies Record<
  string,
  Reply['type']
>
const DEATHS: ReadonlySet<unknown> = new Set<DeathNotice['status']>(['done', 'error', 'stopped', 'unreachable'])
const HEADER_BYTES = 5
/** Bytes of an answer in one message. */
const PART_BYTES = actorFrameBytesMax - HEADER_BYTES

const typed = (type: keyof typeof REQUESTS | keyof typeof REPLIES, id: number, content: Uint8Array): Uint8Array => {
  const frame = Buffer.allocUnsafe(HEADER_BYTES + content.byteLength)
  frame.write(type, 0, 'latin1')
  frame.writeUInt32BE(id, 1)
  frame.set(content, HEADER_BYTES)
  return frame
}

function fitting(frame: Uint8Array, what: string): Uint8Array {
  if (frame.byteLength <= actorFrameBytesMax) return frame
  throw new InvalidRequestError(`"${what}" is too large to be asked of another peer at once; ask for less`)
}

const json = (content: unknown): Uint8Array => Buffer.from(JSON.stringify(content))

export const requests = {
  /** InvalidRequestError when it does not go into one message. */
  ask: (id: number, { what, path, of }: Question) => fitting(typed('Q', id, json({ what, path, of })), what),
  send: (id: number, path: string, event: ActorEvent, by: string) => typed('S', id, json({ path, event, by })),
  tell: (id: number, path: string, event: ActorEvent, by: string) => typed('T', id, json({ path, event, by })),
  watch: (id: number, path: string | null) => typed('W', id, json({ path })),
  monitor: (id: number, path: string) => typed('M', id, json({ path })),
  withdraw: (id: number) => typed('X', id, Buffer.alloc(0))
}

export const replies = {
  /** An answer in as many messages as it takes, so that a long one lets short ones through. */
  *answer(id: number, answer: unknown): Generator<Uint8Array> {
    const bytes = json(answer ?? null)
    let offset = 0
    for (; bytes.length - offset > PART_BYTES; offset += PART_BYTES) {
      yield typed('P', id, bytes.subarray(offset, offset + PART_BYTES))
    }
    yield typed('A', id, bytes.subarray(offset))
  },
  refusal: (id: number, error: unknown) => typed('E', id, json(error)),
  update: (id: number, update: unknown) => typed('U', id, json(update)),
  ended: (id: number, notice: DeathNotice) => typed('D', id, json(notice))
}

/** InvalidRequestError for anything that is no request of this protocol. */
export function parseRequest(message: Uint8Array): Request {
  const { letter, id, content } = open(message)
  const type = Object.hasOwn(REQUESTS, letter) ? REQUESTS[letter as keyof typeof REQUESTS] : undefined
  if (type == null) throw malformed('its type is unknown')
  if (type === 'withdraw') return { type, id }
  const { what, path, event, by, of } = fieldsOf(content)
  switch (type) {
    case 'ask':
      return { type, id, what: text('what', what, actorWordTextMax), path: path == null ? null : pathOf(path), of }
    case 'watch':
      return { type, id, path: path == null ? null : pathOf(path) }
    case 'monitor':
      return { type, id, path: pathOf(path) }
    default:
      return { type, id, path: pathOf(path), event: eventOf(event), by: text('by', by, actorAskerTextMax) }
  }
}

/** InvalidRequestError for anything that is no reply of this protocol. */
export function parseReply(message: Uint8Array): Reply {
  const { letter, id, content } = open(message)
  const type = Object.hasOwn(REPLIES, letter) ? REPLIES[letter as keyof typeof REPLIES] : undefined
  switch (type) {
    case undefined:
      throw malformed('its type is unknown')
    case 'part':
    case 'answer':
      return { type, id, bytes: content }
    case 'refusal':
      return { type, id, error: parseAnswer(content) }
    case 'update':
      return { type, id, update: parseAnswer(content) }
    case 'ended': {
      const { status, reason } = fieldsOf(content)
      if (!DEATHS.has(status)) throw malformed('an actor ends in a way that is unknown')
      return { type, id, notice: { status: status as DeathNotice['status'], reason: reasonOf(reason) } }
    }
  }
}

/** JSON that another agent made, of which nothing is known but that it is not nested without end. */
export function parseAnswer(bytes: Uint8Array): unknown {
  let parsed: unknown
  try {
    parsed = JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString())
  } catch {
    throw malformed('its content is no JSON')
  }
  let level = isNested(parsed) ? [parsed] : []
  for (let depth = 0; level.length > 0; depth++) {
    if (depth >= actorDepthMax) throw malformed(`it is nested deeper than ${actorDepthMax} levels`)
    level = level.flatMap((value) => Object.values(value).filter(isNested))
  }
  return parsed
}

const isNested = (value: unknown): value is object => value != null && typeof value === 'object'

function open(message: Uint8Array): { letter: string; id: number; content: Buffer } {
  if (message.byteLength < HEADER_BYTES) throw malformed('it is cut short')
  if (message.byteLength > actorFrameBytesMax) throw malformed(`it has more than ${actorFrameBytesMax} bytes`)
  const bytes = Buffer.from(message.buffer, message.byteOffset, message.byteLength)
  return { letter: bytes.toString('latin1', 0, 1), id: bytes.readUInt32BE(1), content: bytes.subarray(HEADER_BYTES) }
}

function fieldsOf(content: Uint8Array): Record<string, unknown> {
  const parsed = parseAnswer(content)
  if (parsed == null || typeof parsed !== 'object' || Array.isArray(parsed)) throw malformed('its content is no object')
  return parsed as Record<string, unknown>
}

const pathOf = (path: unknown): string => text('path', path, actorPathTextMax)

const reasonOf = (reason: unknown): string | null => (typeof reason === 'string' ? reason : null)

/** Of what goes into logs and answers: no control characters. */
function text(field: string, value: unknown, max: number): string {
  if (typeof value !== 'string' || value === '' || value.length > max || /\p{Cc}/u.test(value)) {
    throw malformed(`"${field}" is no text of 1 to ${max} characters`)
  }
  return value
}

function eventOf(event: unknown): ActorEvent {
  if (event == null || typeof event !== 'object' || Array.isArray(event)) throw malformed('an event is an object')
  const { type, ...fields } = event as Record<string, unknown>
  const rest = Object.entries(fields)
  if (rest.length > actorEventFieldsMax) throw malformed(`an event has at most ${actorEventFieldsMax} fields`)
  for (const [field, value] of rest) {
    if (!['string', 'number', 'boolean'].includes(typeof value)) throw malformed(`the field "${field}" is no scalar`)
  }
  return { ...fields, type: text('type', type, actorWordTextMax) }
}

const malformed = (why: string): InvalidRequestError =>
  new InvalidRequestError(
    `a peer sent a message that is not of the actor protocol: ${why}; compare both agents' versions`
  )
