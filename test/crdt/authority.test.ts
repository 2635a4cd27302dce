import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { decodeChange, encodeChange } from '@automerge/automerge'
import * as fc from 'fast-check'
import { MalformedError } from '../../src/crdt/bytes.ts'
import { parseChunk, plainChunk } from '../../src/crdt/chunk.ts'
import { Document } from '../../src/crdt/document.ts'
import { actorOf, parseEnvelope, sealEnvelope } from '../../src/crdt/envelope.ts'
import { parseGenesis } from '../../src/crdt/genesis.ts'
import type { Replica } from '../../src/crdt/replica.ts'
import type { Signer } from '../../src/crdt/signer.ts'
import { Bench, Observer, peerRecord, pull, serviceInput, signer, state } from './support.ts'

/** Somebody with a key and an own mind: writes whatever it likes on top of the genesis, as its first change. */
function hostile(victim: Replica, by: Signer, write: Parameters<Document['change']>[0], cluster?: string): Uint8Array {
  const genesis = parseGenesis(victim.bootstrap().genesis)
  const document = new Document(genesis.chunk, actorOf('change', by.publicKey, 99))
  const body = document.change(write)
  assert.ok(body != null)
  const parts = { kind: 'change', incarnation: 99, seq: parseChunk(body).seq, writtenAt: 1, body } as const
  return sealEnvelope(by, cluster ?? genesis.clusterId, parts).bytes
}

describe('crdt/authority', function () {
  this.timeout(60_000)
  const bench = new Bench()
  afterEach(() => bench.clean())

  it('a stranger gets nothing into the log, and its gossip is not passed on', async () => {
    const a = await bench.founder(1)
    const before = state(a)
    const bytes = hostile(a, signer(9), (writer) => writer.put('services', 'x', { name: 'evil' }))
    assert.equal(a.check(bytes), 'ignore')
    const result = await a.receive([bytes], signer(9).peerId)
    assert.equal(result.accepted, 0)
    assert.deepEqual(state(a), before)
    assert.equal(
      Object.keys(a.vector()).some((actor) => actor.startsWith(Buffer.from(signer(9).publicKey).toString('hex'))),
      false
    )
  })

  it('a forged signature, another cluster and a broken envelope are refused with a reason', async () => {
    const a = await bench.founder(1)
    const b = await bench.joiner(a, 2)
    await pull(a, b)
    const vector = a.vector()
    const good = hostile(a, signer(2), (writer) => writer.put('services', 'x', { name: 'y' }))
    const forged = good.slice()
    forged[100] = (forged[100] as number) ^ 1
    const foreign = hostile(a, signer(2), (writer) => writer.put('services', 'x', { name: 'y' }), 'Z'.repeat(26))
    for (const bytes of [forged, foreign, good.subarray(0, 200), new Uint8Array(3)]) {
      assert.equal(a.check(bytes), 'reject')
      const { accepted, refused } = await a.receive([bytes], b.self)
      assert.equal(accepted, 0)
      assert.match(refused[0]?.reason ?? '', /^the envelope is not good: /)
    }
    assert.deepEqual(a.vector(), vector)
  })

  it("a member cannot write another peer's record; what it tries is kept, named and without effect", async () => {
    const a = await bench.founder(1)
    const b = await bench.joiner(a, 2)
    await pull(a, b)
    const before = state(a)
    const evil = { ...peerRecord(a.self, 'not-me') }
    const { id: _, ...fields } = evil
    const bytes = hostile(a, signer(2), (writer) => writer.put('peers', a.self, fields))
    assert.equal((await a.receive([bytes], b.self)).accepted, 1)
    assert.deepEqual(state(a), before)
    assert.deepEqual(a.view().rejected, [
      { hash: parseEnvelope(bytes).hash, author: b.self, reason: `it writes the record of another peer, ${a.self}` }
    ])
    await assert.rejects(b.putPeer(evil), /peer_not_found|own record only/)
  })

  it('what a hostile member writes into its reach is left out of the view and named', async () => {
    const a = await bench.founder(1)
    const b = await bench.joiner(a, 2)
    await pull(a, b)
    const service = await a.createService(serviceInput(a, b))
    const before = state(a) as { services: unknown; routes: unknown }
    const bad = { name: 'x', source_peer_id: a.self, target_peer_id: a.self }
    const bytes = hostile(a, signer(2), (writer) => {
      writer.put('services', '01J00000000000000000000000', bad)
      writer.put('services', '__proto__', bad)
      writer.put('services', 'x'.repeat(5000), bad)
      writer.put('routes', '01J00000000000000000000001', {
        service_id: service.id,
        dest_cidr: '10.0.0.0/8; drop',
        priority: 1
      })
      writer.put('routes', '01J00000000000000000000002', {
        service_id: 'constructor',
        dest_cidr: '10.0.0.0/8',
        priority: 1
      })
      writer.put('peers', signer(2).peerId, { name: 'bad\nname' })
    })
    assert.equal((await a.receive([bytes], b.self)).accepted, 1)
    const after = state(a) as { services: unknown; routes: unknown }
    assert.deepEqual([after.services, after.routes], [before.services, before.routes])
    const reasons = a.view().rejected.map(({ reason }) => reason)
    assert.ok(reasons.some((reason) => reason.includes('source and target are the same peer')))
    assert.ok(reasons.some((reason) => reason.includes('10.0.0.0/8; drop')))
    assert.ok(reasons.some((reason) => reason.includes('must be a ULID')))
  })

  it('one author, two changes under one number: the second is refused, and both are its conviction', async () => {
    const a = await bench.founder(1)
    const b = await bench.joiner(a, 2)
    await pull(a, b)
    const one = hostile(a, signer(2), (writer) => writer.put('services', 'x', { name: 'one' }))
    const two = hostile(a, signer(2), (writer) => writer.put('services', 'x', { name: 'two' }))
    assert.equal((await a.receive([one], b.self)).accepted, 1)
    const { accepted, refused } = await a.receive([two], b.self)
    assert.equal(accepted, 0)
    assert.match(refused[0]?.reason ?? '', /same sequence number/)
    assert.equal(a.view().members.has(b.self), false)
    assert.equal(a.view().departed?.get(b.self)?.how, 'proven')
    // Whoever had taken the other one for good comes to the same state, and can follow those who built on either.
    const c = new Observer(a.bootstrap().genesis)
    const [before, after] = [a.bootstrap().envelopes.slice(0, -3), a.bootstrap().envelopes.slice(-3)]
    c.take([...before, two])
    c.take([one, ...after])
    assert.deepEqual([...c.view.members.keys()], [a.self])
    assert.deepEqual(c.view.heads, a.view().heads)
    const { departed } = a.view()
    assert.equal(departed?.size, 1)
  })

  /** Feeds changes by member 2 to a peer and proves each time that the peer goes on. */
  async function feed(bodies: Iterable<Uint8Array>): Promise<Map<string, number>> {
    const a = await bench.founder(1)
    const b = await bench.joiner(a, 2)
    await pull(a, b)
    const { genesis, envelopes } = a.bootstrap()
    const fresh = (): Observer => {
      const made = new Observer(genesis)
      made.take(envelopes)
      return made
    }
    const good = hostile(a, signer(1), (writer) => writer.put('services', ID, { name: 'two' }))
    const outcomes = new Map<string, number>()
    let observer = fresh()
    for (const body of bodies) {
      body.set(createHash('sha256').update(body.subarray(8)).digest().subarray(0, 4), 4)
      let sealed: Uint8Array
      try {
        const parts = { kind: 'change', incarnation: 99, seq: 1, writtenAt: 1, body } as const
        sealed = sealEnvelope(signer(2), a.clusterId() ?? '', parts).bytes
      } catch (error) {
        // Its head names another actor, length or list of predecessors: no envelope can be made around it.
        assert.ok(error instanceof MalformedError)
        continue
      }
      const outcome = observer.take([sealed])[0]
      const name = typeof outcome === 'object' ? 'refused' : String(outcome)
      outcomes.set(name, (outcomes.get(name) ?? 0) + 1)
      if (name !== 'accepted') continue
      assert.deepEqual(observer.take([good]), ['accepted'])
      assert.equal(observer.view.members.size, 2)
      assert.equal(observer.view.services.size, 0)
      observer = fresh()
    }
    assert.deepEqual(observer.take([good]), ['accepted'])
    return outcomes
  }

  /** A change with something of everything in it. */
  async function sample(): Promise<Uint8Array> {
    const a = await bench.founder(1)
    const fields = { name: 'one', list: ['a', 'b'], priority: 7, wide: 1.5, on: true, off: null }
    return parseEnvelope(
      hostile(a, signer(2), (writer) => {
        writer.put('services', ID, fields)
        writer.put('services', ID, { name: 'again' })
        writer.remove('routes', ID)
      })
    ).body
  }

  it('a member that signs broken changes harms nobody: refused, or kept without effect, and all goes on', async () => {
    const body = await sample()
    const broken = function* (): Generator<Uint8Array> {
      for (let at = 9; at < body.length; at++) {
        for (const noise of [0x01, 0x80, 0xff]) yield body.with(at, (body[at] as number) ^ noise)
      }
    }
    const outcomes = await feed(broken())
    assert.ok((outcomes.get('refused') ?? 0) > 100, 'broken ones were met')
    assert.ok((outcomes.get('accepted') ?? 0) > 10, 'ones that Automerge would write itself were met too')
  })

  it('nor does one that signs well-formed changes which make no sense', async () => {
    const change = decodeChange(await sample())
    const zero = '00'.repeat(36)
    const ids = [
      ...[1, 2, 300, 771, 772, 99_999].map((number) => `${number}@${zero}`),
      ...Array.from({ length: 12 }, (_, i) => `${change.startOp + i}@${change.actor}`),
      `${change.startOp + 500}@${change.actor}`,
      `1@${change.actor}`,
      `800@${'ab'.repeat(36)}`
    ]
    const id = fc.constantFrom(...ids)
    const value = fc.constantFrom(
      { value: 'x' },
      { value: null },
      { value: true },
      { value: 1, datatype: 'int' },
      { value: 1, datatype: 'uint' },
      { value: 1.5, datatype: 'float64' },
      { value: 3, datatype: 'counter' },
      { value: 4, datatype: 'timestamp' }
    )
    // Each a part of an operation; parts that exclude each other are never put into one.
    const mutation = fc.oneof(
      fc.record({ obj: fc.constantFrom('_root', ...ids) }),
      fc.record({ pred: fc.array(id, { maxLength: 3 }) }),
      fc.record({ key: fc.constantFrom(ID, 'name', 'peers', '', '__proto__', '0'), elemId: fc.constant(undefined) }),
      fc.record({ elemId: fc.constantFrom('_head', ...ids), key: fc.constant(undefined), insert: fc.boolean() }),
      fc.constantFrom('del', 'makeMap', 'makeList', 'makeText').map((action) => ({
        action,
        value: undefined,
        datatype: undefined
      })),
      value.map((more) => ({ action: 'set', ...more })),
      fc.constant({ action: 'inc', value: 2, datatype: 'int' })
    )
    const plan = fc.tuple(
      fc.array(fc.tuple(fc.nat(change.ops.length - 1), mutation), { minLength: 1, maxLength: 3 }),
      fc.option(fc.integer({ min: 1, max: 5000 }), { nil: change.startOp })
    )
    const bodies: Uint8Array[] = []
    for (const [mutations, startOp] of fc.sample(plan, { numRuns: 1200, seed: 5 })) {
      const ops = structuredClone(change.ops)
      for (const [at, more] of mutations) {
        const parts = Object.entries({ ...ops[at], ...more }).filter(([, part]) => part !== undefined)
        ops[at] = Object.fromEntries(parts) as (typeof ops)[number]
      }
      try {
        const { hash: _, ...rest } = change
        bodies.push(plainChunk(encodeChange({ ...rest, ops, startOp })).slice())
      } catch {
        // Not even Automerge can write it down.
      }
    }
    assert.ok(bodies.length > 300, `${bodies.length} changes`)
    const outcomes = await feed(bodies)
    assert.ok((outcomes.get('accepted') ?? 0) > 50, 'some were sound enough to be kept')
  })
})

const ID = '01J00000000000000000000000'
