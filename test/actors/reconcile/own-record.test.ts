import assert from 'node:assert/strict'
import { applyRetryMinMs, ownRecordEveryMs } from '../../../src/actors/limits.ts'
import { OwnRecord } from '../../../src/actors/reconcile/own-record.ts'
import type { PeerRecord } from '../../../src/crdt/schema.ts'
import type { View } from '../../../src/crdt/view.ts'
import { UnavailableError } from '../../../src/errors.ts'
import { FakeClock } from '../fakes/clock.ts'
import { FakeLog } from '../fakes/log.ts'
import { member, peerId, peerRecord, viewOf } from '../fakes/records.ts'

describe("this peer's own record", () => {
  let clock: FakeClock
  let view: View
  let written: PeerRecord[]
  let refuse: boolean
  let keysInForce: boolean
  /** What the cluster makes of what is written. */
  let read: (record: PeerRecord) => PeerRecord

  beforeEach(() => {
    clock = new FakeClock()
    view = viewOf([member('a', null)])
    written = []
    refuse = false
    keysInForce = true
    read = (record) => record
  })

  let looker: OwnRecord | null = null
  let asked = 0
  const own = (record: PeerRecord): OwnRecord => {
    looker = new OwnRecord({
      replica: {
        view: () => view,
        putPeer: async (one) => {
          if (refuse) throw new UnavailableError('the disk is full')
          written.push(one)
          view = viewOf([member('a', read(one))])
          looker?.look(view)
          return one
        }
      },
      clock,
      log: new FakeLog(),
      self: peerId('a'),
      selfRecord: () => {
        asked++
        return { ...record }
      },
      keysInForce: () => keysInForce
    })
    return looker
  }

  it('is written when it is missing or differs, and left alone when it is right', async () => {
    const record = own(peerRecord('a', { version: '0.2.0' }))
    record.look(view)
    await clock.settle()
    record.look(view)
    await clock.settle()
    assert.deepEqual(
      written.map(({ version }) => version),
      ['0.2.0']
    )
  })

  it('follows addresses that change, although nobody says so, and asks for them no more than now and then', async () => {
    const now = peerRecord('a')
    const record = own(now)
    record.start()
    record.look(view)
    await clock.settle()
    asked = 0
    for (let n = 0; n < 100; n++) record.look({ ...view, services: new Map() })
    assert.ok(asked <= 1, `${asked} times`)
    now.data_addresses = ['192.0.2.7:7947']
    await clock.advance(ownRecordEveryMs)
    await clock.settle()
    assert.deepEqual(written.at(-1)?.data_addresses, ['192.0.2.7:7947'])
    record.stop()
    assert.equal(clock.pending, 0)
  })

  it('keeps the name that the cluster knows', async () => {
    view = viewOf([member('a', peerRecord('a', { name: 'renamed' }))])
    own(peerRecord('a', { version: '0.2.0' })).look(view)
    await clock.settle()
    assert.deepEqual(
      written.map(({ name, version }) => [name, version]),
      [['renamed', '0.2.0']]
    )
  })

  it('is not written without end when it reads otherwise than it was written', async () => {
    read = (record) => ({ ...record, version: 'other' })
    own(peerRecord('a', { version: '0.2.0' })).look(view)
    await clock.settle()
    assert.equal(written.length, 1)
    await clock.advance(applyRetryMinMs)
    await clock.settle()
    assert.equal(written.length, 2)
  })

  it('tells of no key that the engines do not have yet', async () => {
    view = viewOf([member('a', peerRecord('a'))])
    const record = own(peerRecord('a', { pegasus_key: 'new', keys_before: ['old', 'old'] }))
    keysInForce = false
    record.look(view)
    await clock.settle()
    assert.deepEqual(written, [])
    keysInForce = true
    record.look(view)
    await clock.settle()
    assert.deepEqual(
      written.map(({ pegasus_key, keys_before }) => [pegasus_key, keys_before]),
      [['new', ['old', 'old']]]
    )
  })

  it('is tried again, less and less often, while the replica refuses it', async () => {
    refuse = true
    const record = own(peerRecord('a'))
    record.look(view)
    await clock.advance(1_500)
    refuse = false
    await clock.advance(1_000)
    assert.equal(written.length, 0, 'the second wait is twice as long')
    await clock.advance(1_000)
    assert.equal(written.length, 1)
  })

  it('is nothing to write for who is no member, and nothing after stop', async () => {
    own(peerRecord('b')).look(viewOf([member('b', null)]))
    refuse = true
    const record = own(peerRecord('a'))
    record.look(view)
    await clock.settle()
    record.stop()
    refuse = false
    await clock.advance(60_000)
    assert.deepEqual(written, [])
    assert.equal(clock.pending, 0)
  })
})
