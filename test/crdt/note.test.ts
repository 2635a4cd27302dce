import { deepEqual, equal, rejects } from 'node:assert/strict'
import * as fc from 'fast-check'
import { noteTextMax } from '../../src/crdt/limits.ts'
import { encodeNote, parseNote } from '../../src/crdt/note.ts'
import { Bench, pull, serviceInput, state } from './support.ts'

describe('crdt/note', function () {
  this.timeout(20_000)
  const bench = new Bench()
  afterEach(() => bench.clean())

  it('is read as it was written, cut where it is too long', () => {
    const note = { actor: 'service:web', event: { type: 'x.y', reason: 'r', count: 3, now: true }, by: 'socket' }
    deepEqual(parseNote(encodeNote(note)), note)
    const long = 'x'.repeat(2 * noteTextMax)
    equal(
      parseNote(encodeNote({ ...note, event: { ...note.event, reason: long } }))?.event['reason'],
      long.slice(0, noteTextMax)
    )
  })

  it('is nothing when a member has written nonsense in its place', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (message) => {
        equal(parseNote(message), null)
        const odd = parseNote(
          JSON.stringify({ sent: { actor: 'a', by: 'b', event: { type: 't', odd: message, deep: {} } } })
        )
        deepEqual(odd?.event, { type: 't', ...(message.length <= noteTextMax ? { odd: message } : {}) })
      })
    )
    for (const message of [null, '{"sent":{"actor":1,"by":"b","event":{"type":"t"}}}', '{"sent":{}}']) {
      equal(parseNote(message), null)
    }
  })

  it('changes nothing but the history: between changes, and for who is no admin', async () => {
    const a = await bench.founder(1)
    const b = await bench.joiner(a, 2)
    await pull(a, b)
    const note = { actor: 'netmgr', event: { type: 'netmgr.retry' }, by: 'socket' }
    await a.note(note)
    const service = await a.createService(serviceInput(a, b, { name: 'web' }))
    await a.note(note)
    await a.note(note)
    await a.updateService(service.id, { name: 'other' })
    await a.setRole(b.self, 'member')
    await pull(b, a)
    await b.note(note)
    await pull(a, b)
    deepEqual(state(a), state(b))
    deepEqual(a.view().rejected, [])
    equal(a.view().services.get(service.id)?.name, 'other')
    const sent = (await a.history({})).filter(({ objects }) => objects[0]?.kind === 'actor')
    equal(sent.length, 4)
    equal(
      sent.every(({ valid, verified }) => valid && verified),
      true
    )
    await rejects(a.undo(sent[0]!.id), { code: 'invalid_request', message: /sent to an actor/ })
  })
})
