import { deepEqual, equal, ok, throws } from 'node:assert/strict'
import * as fc from 'fast-check'
import {
  parseAnswer,
  parseReply,
  parseRequest,
  replies,
  requests,
  type DeathNotice
} from '../../src/mesh/actor-protocol/frame.ts'
import { actorDepthMax, actorFrameBytesMax, actorPathTextMax } from '../../src/mesh/limits.ts'

const id = fc.nat(0xffff_ffff)
const word = fc.stringMatching(/^[a-z][a-z.]{0,20}$/)
const path = fc.stringMatching(/^[a-z]{1,8}(:[A-Za-z0-9]{1,40})?$/)
const scalar = fc.oneof(fc.string({ maxLength: 40 }), fc.integer(), fc.boolean())
const event = fc
  .tuple(word, fc.dictionary(fc.stringMatching(/^[a-z_]{1,10}$/), scalar, { maxKeys: 16, noNullPrototype: true }))
  .map(([type, fields]) => ({ ...fields, type }))

describe('actor protocol frames', () => {
  it('are read as they were written', () => {
    fc.assert(
      fc.property(id, word, path, event, word, (id, what, path, event, by) => {
        deepEqual(parseRequest(requests.ask(id, { what, path, of: event })), { type: 'ask', id, what, path, of: event })
        const bare = { type: 'ask', id, what, path: null, of: undefined }
        deepEqual(parseRequest(requests.ask(id, { what, path: null })), bare)
        deepEqual(parseRequest(requests.send(id, path, event, by)), { type: 'send', id, path, event, by })
        deepEqual(parseRequest(requests.tell(id, path, event, by)), { type: 'tell', id, path, event, by })
        deepEqual(parseRequest(requests.watch(id, null)), { type: 'watch', id, path: null })
        deepEqual(parseRequest(requests.monitor(id, path)), { type: 'monitor', id, path })
        deepEqual(parseRequest(requests.withdraw(id)), { type: 'withdraw', id })
        deepEqual(parseReply(replies.update(id, event)), { type: 'update', id, update: event })
        const notice: DeathNotice = { status: 'error', reason: what }
        deepEqual(parseReply(replies.ended(id, notice)), { type: 'ended', id, notice })
      })
    )
  })

  it('refuse to ask what does not go into one message', () => {
    const of = 'x'.repeat(actorFrameBytesMax)
    throws(() => requests.ask(1, { what: 'preview', path: null, of }), {
      code: 'invalid_request',
      message: /too large/
    })
  })

  it('carry an answer of any length in parts that each fit', () => {
    const lengths = fc.oneof(fc.nat(200), fc.integer({ min: actorFrameBytesMax - 20, max: 3 * actorFrameBytesMax }))
    fc.assert(
      fc.property(id, lengths, (id, length) => {
        const answer = { text: 'é'.repeat(length) }
        const parts = [...replies.answer(id, answer)]
        ok(parts.every((part) => part.byteLength <= actorFrameBytesMax))
        const read = parts.map((part) => parseReply(part))
        ok(read.every((one) => one.id === id))
        deepEqual(
          read.map(({ type }) => type),
          [...Array.from({ length: parts.length - 1 }, () => 'part'), 'answer']
        )
        const bytes = Buffer.concat(read.map((one) => ('bytes' in one ? one.bytes : Buffer.alloc(0))))
        deepEqual(parseAnswer(bytes), answer)
      }),
      { numRuns: 30 }
    )
    deepEqual(parseAnswer((parseReply([...replies.answer(1, undefined)][0]!) as { bytes: Uint8Array }).bytes), null)
  })

  it('that are garbage, cut or flipped are refused with a sentence or are whole; nothing else is thrown', () => {
    const valid = fc.oneof(
      fc.tuple(id, word, path).map(([id, what, path]) => requests.ask(id, { what, path })),
      fc.tuple(id, path, event, word).map(([id, path, event, by]) => requests.send(id, path, event, by)),
      fc.tuple(id, event).map(([id, update]) => replies.update(id, update)),
      id.map((id) => replies.ended(id, { status: 'done', reason: null }))
    )
    const damaged = fc.tuple(valid, fc.nat(), fc.nat(255), fc.boolean()).map(([frame, at, byte, cut]) => {
      const bytes = Uint8Array.from(frame)
      bytes[at % bytes.length] = byte
      return cut ? bytes.subarray(0, at % bytes.length) : bytes
    })
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 80 }), damaged), (bytes) => {
        for (const parse of [parseRequest, parseReply]) {
          try {
            parse(bytes)
          } catch (error) {
            equal((error as { code?: string }).code, 'invalid_request')
          }
        }
      }),
      { numRuns: 2_000 }
    )
  })

  it('refuse by name what is too long, too deep or of another kind', () => {
    const request = (type: string, content: unknown): Uint8Array =>
      Buffer.concat([Buffer.from(type), Buffer.alloc(4), Buffer.from(JSON.stringify(content))])
    const event = { type: 'netmgr.retry' }
    for (const [frame, why] of [
      [Buffer.from('Q'), /cut short/],
      [Buffer.alloc(actorFrameBytesMax + 1), /more than 65536 bytes/],
      [request('Z', {}), /type is unknown/],
      [request('Q', []), /no object/],
      [request('Q', { what: 'tree', path: 7 }), /"path"/],
      [request('Q', { what: '', path: null }), /"what"/],
      [request('W', { path: 'x'.repeat(actorPathTextMax + 1) }), /"path" is no text of 1 to 256/],
      [request('S', { path: 'a', event, by: 'a\u001B[2J' }), /"by"/],
      [request('S', { path: 'a', event: { ...event, more: {} }, by: 'x' }), /"more" is no scalar/],
      [request('S', { path: 'a', event: { more: 1 }, by: 'x' }), /"type"/],
      [request('S', { path: 'a', event: 'netmgr.retry', by: 'x' }), /an event is an object/]
    ] as const) {
      throws(() => parseRequest(frame), { code: 'invalid_request', message: why })
    }
    const deep = `${'['.repeat(actorDepthMax + 1)}${']'.repeat(actorDepthMax + 1)}`
    throws(() => parseAnswer(Buffer.from(deep)), /nested deeper/)
    throws(() => parseAnswer(Buffer.from('['.repeat(20_000))), /no JSON/)
    throws(() => parseReply(request('D', { status: 'bored', reason: null })), /unknown/)
  })
})
