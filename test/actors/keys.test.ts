import assert from 'node:assert/strict'
import { OwnKeys } from '../../src/actors/reconcile/own-keys.ts'
import type { KeyRingPort } from '../../src/actors/ports.ts'
import { ConflictError, UnavailableError } from '../../src/errors.ts'
import { FakeClock } from './fakes/clock.ts'
import { FakeDataplane } from './fakes/dataplane.ts'
import { FakeLog } from './fakes/log.ts'
import { member, peerId, peerRecord, viewOf } from './fakes/records.ts'

const pair = (n: number) => ({ publicKey: `public-${n}`, privateKey: `private-${n}` })
const keys = (n: number) => ({ pegasus: pair(n), tempest: pair(n + 100) })

class MemoryRing implements KeyRingPort {
  current = keys(1)
  before: ReturnType<typeof keys> | null = null
  refuses = false
  notes = 0
  rotations = 0
  readonly #clock: FakeClock
  #madeAt = 0

  constructor(clock: FakeClock) {
    this.#clock = clock
  }

  get ageMs(): number {
    return this.#clock.monotonic() - this.#madeAt
  }

  async rotate(): Promise<void> {
    if (this.before != null) throw new ConflictError(409, 'lately')
    if (this.refuses) throw new UnavailableError('the disk is full')
    this.before = this.current
    this.current = keys(++this.rotations + 1)
    this.#madeAt = this.#clock.monotonic()
  }

  async erase(): Promise<void> {
    this.before = null
  }

  async note(): Promise<void> {
    this.notes++
  }
}

describe("this peer's data-plane keys", () => {
  let clock: FakeClock
  let ring: MemoryRing
  let dataplane: FakeDataplane
  let own: OwnKeys
  let settings: { maxAgeMs: number | null; overlapMs: number }
  let inForceAt: Set<string>
  let told: boolean[]

  beforeEach(() => {
    clock = new FakeClock()
    ring = new MemoryRing(clock)
    dataplane = new FakeDataplane()
    settings = { maxAgeMs: null, overlapMs: 60_000 }
    inForceAt = new Set()
    told = []
    own = make()
    own.start()
  })
  afterEach(() => own.stop())

  const make = (): OwnKeys =>
    new OwnKeys({
      ring,
      dataplane,
      clock,
      log: new FakeLog(),
      self: peerId('a'),
      settings: () => settings,
      shared: () => [
        ['s1', peerId('b')],
        ['s2', peerId('c')]
      ],
      hasInForce: (peer) => inForceAt.has(peer),
      onChange: () => told.push(own.inForce())
    })
  const view = () => viewOf([member('a', peerRecord('a', { pegasus_key: ring.current.pegasus.publicKey }))])
  const engines = () => {
    const { newest, before, known } = dataplane.keys.at(-1)!
    return [newest.pegasus, before?.pegasus ?? null, [...known].map((id) => (id === peerId('b') ? 'b' : 'c'))]
  }

  it('are in the engines before anybody hears of them, and used where they are known', async () => {
    await clock.settle()
    assert.deepEqual(engines(), ['private-1', null, []])
    await own.rotate('a test')
    assert.deepEqual(engines(), ['private-2', 'private-1', []])
    assert.equal(told.at(-1), true)
    own.look(view())
    inForceAt.add(peerId('c'))
    own.look(view())
    await clock.settle()
    assert.deepEqual(engines(), ['private-2', 'private-1', ['c']])
    inForceAt.clear()
    own.look(view())
    inForceAt.add(peerId('b'))
    own.look(view())
    await clock.settle()
    assert.deepEqual(engines(), ['private-2', 'private-1', ['c', 'b']], 'who has known them once knows them')
    await clock.advance(61_000)
    assert.deepEqual(engines(), ['private-2', null, ['c', 'b']])
    await own.rotate('again')
    assert.deepEqual(engines(), ['private-3', 'private-2', []])
  })

  it('are not told of while the host refuses them, and are told to it again', async () => {
    dataplane.takesKeys = false
    await own.rotate('a test')
    assert.equal(own.inForce(), false)
    own.look(view())
    dataplane.takesKeys = true
    await clock.advance(2_500)
    assert.equal(own.inForce(), true)
    assert.equal(told.at(-1), true)
  })

  it('change by age, once for each time that they have come to it', async () => {
    settings = { maxAgeMs: 100_000, overlapMs: 10_000 }
    own.reconsider()
    await clock.advance(99_000)
    assert.equal(ring.rotations, 0)
    await clock.advance(2_000)
    assert.equal(ring.rotations, 1)
    assert.notEqual(ring.before, null)
    await clock.advance(10_000)
    assert.equal(ring.before, null, 'those before are erased after the overlap')
    await clock.advance(100_000)
    assert.equal(ring.rotations, 2)
    settings = { maxAgeMs: null, overlapMs: 10_000 }
    own.reconsider()
    await clock.advance(3_600_000 * 24)
    assert.equal(ring.rotations, 2)
    assert.ok(ring.notes > 0, 'the age is written down now and then')
  })

  it('are tried again when the disk refuses, and one change is not begun in another', async () => {
    settings = { maxAgeMs: 100_000, overlapMs: 10_000 }
    ring.refuses = true
    own.reconsider()
    await clock.advance(130_000)
    assert.equal(ring.rotations, 0)
    ring.refuses = false
    await clock.advance(3_000)
    assert.equal(ring.rotations, 1)
    await assert.rejects(own.rotate('by hand'), { status: 409 })
  })

  it('go on where a restart finds them', async () => {
    await own.rotate('a test')
    own.stop()
    await clock.advance(30_000)
    own = make()
    assert.equal(own.inForce(), false)
    own.start()
    await clock.settle()
    assert.equal(own.inForce(), true)
    assert.deepEqual(engines(), ['private-2', 'private-1', []])
    await clock.advance(31_000)
    assert.deepEqual([engines(), ring.before], [['private-2', null, []], null])
    own.stop()
    await clock.settle()
    assert.equal(clock.pending, 0)
  })
})
