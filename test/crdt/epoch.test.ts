import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { turnOf } from '../../src/crdt/epoch.ts'
import type { Replica } from '../../src/crdt/replica.ts'
import { decodeSnapshot } from '../../src/crdt/snapshot.ts'
import { ForbiddenError } from '../../src/errors.ts'
import { Bench, invite, peerRecord, pull, serviceInput, signer, state } from './support.ts'

describe('crdt/epoch', function () {
  this.timeout(60_000)
  const bench = new Bench()
  afterEach(() => bench.clean())

  const epochsOf = async (replica: Replica) =>
    (await replica.history({})).filter(({ objects }) => objects[0]?.action === 'epoch')

  it('signs what the history has come to: the file beside the log is what the entry says', async () => {
    const a = await bench.founder(1)
    const b = await bench.joiner(a, 2)
    await pull(a, b)
    await a.createService(serviceInput(a, b, { name: 'web' }))
    const before = a.bootstrap().envelopes.length
    const heads = a.view().heads
    const { objects, verified, valid } = await a.signEpoch()
    const said = Object.fromEntries(
      Object.entries(objects[0]?.fields ?? {}).map(([field, { after }]) => [field, after])
    )
    const file = await readFile(join(bench.dirOf(a), 'cluster', 'epoch'))
    const digest = createHash('sha256').update(file).digest('hex')
    assert.deepEqual(said, { entries: before, bytes: file.length, digest })
    assert.ok(verified && valid)
    const { head } = decodeSnapshot(file)
    assert.equal(head.entries.length, before)
    assert.ok(heads.includes(head.heads[0] ?? ''))
    assert.equal((await a.verify()).flaw, null)
    await pull(b, a)
    assert.deepEqual(state(b), state(a))
    assert.equal((await epochsOf(b)).length, 1)
  })

  it('is for admins; one that a member signs is held, counts for nothing, and says why', async () => {
    const a = await bench.founder(1)
    const b = await bench.joiner(a, 2)
    await pull(a, b)
    await a.setRole(b.self, 'member')
    // Before it has heard that it is no admin any more.
    await b.signEpoch()
    await pull(a, b)
    await pull(b, a)
    await assert.rejects(b.signEpoch(), ForbiddenError)
    for (const replica of [a, b]) {
      const [epoch] = await epochsOf(replica)
      assert.equal(epoch?.valid, false)
      assert.match(epoch?.reason ?? '', /member/)
    }
    assert.deepEqual(state(a), state(b))
  })

  it('makes nothing valid or invalid: who is a member is judged without it', async () => {
    const a = await bench.founder(1)
    const b = await bench.joiner(a, 2)
    const c = await bench.joiner(a, 3)
    await pull(a, b)
    await pull(a, c)
    await c.createService(serviceInput(a, c, { name: 'late' }))
    await a.revoke(c.self)
    await a.signEpoch()
    await pull(b, a)
    await pull(b, c)
    await pull(a, c)
    assert.deepEqual(state(a), state(b))
    assert.equal(a.view().services.size, 0)
  })

  it('comes by itself once the history has grown by so much, and again only after as much', async () => {
    const every = 30
    const a = await bench.open(await bench.dir(), signer(1), undefined, undefined, every)
    await a.init({ name: 'home', record: peerRecord(a.self, 'alpha') })
    const seen: number[] = []
    for (let i = 0; i < 3 * every; i++) {
      await a.putPeer(peerRecord(a.self, `n${i}`))
      // What it does by itself is begun by a timer of no time.
      await new Promise((resolve) => setTimeout(resolve, 4))
      seen.push((await epochsOf(a)).length)
    }
    assert.equal(seen.findIndex((count) => count > 0) >= every - 5, true)
    const count = seen.at(-1) ?? 0
    assert.ok(count >= 2 && count <= 3, `${count} epochs in ${3 * every} changes`)
  })

  it('is the turn of one admin, another one after each epoch, and all agree whose', async () => {
    const admins = Array.from({ length: 7 }, (_, i) => signer(i + 1).peerId)
    const first = new Map<string, number>()
    for (let i = 0; i < 70; i++) {
      const turns = admins.map((self) => turnOf(self, admins.toReversed(), `epoch ${i}`))
      assert.deepEqual(
        turns.toSorted((a, b) => a - b),
        [0, 1, 2, 3, 4, 5, 6]
      )
      const who = admins[turns.indexOf(0)] ?? ''
      first.set(who, (first.get(who) ?? 0) + 1)
    }
    assert.ok(first.size >= 5, 'always the same ones')
    assert.equal(turnOf(signer(9).peerId, admins, 'epoch'), -1)
  })

  it('of several admins that write at once one signs, while the others wait for their turn', async () => {
    const every = 40
    const [a, b, c] = await Promise.all(
      [1, 2, 3].map(async (n) => bench.open(await bench.dir(), signer(n), undefined, undefined, every))
    )
    assert.ok(a != null && b != null && c != null)
    await a.init({ name: 'home', record: peerRecord(a.self, 'alpha') })
    for (const other of [b, c]) {
      const token = invite(a)
      await a.admit({ token, peer: other.self, name: `peer-${other.self.slice(-4)}` })
      await other.adopt({ ...a.bootstrap(), token })
    }
    const all = [a, b, c]
    for (let i = 0; i < 2 * every; i++) {
      const one = all[i % 3] as Replica
      await one.putPeer(peerRecord(one.self, `n${i}`))
      await new Promise((resolve) => setTimeout(resolve, 4))
      for (const to of all) for (const from of all) if (to !== from) await pull(to, from)
    }
    const found = await epochsOf(a)
    assert.ok(found.length >= 1 && found.length <= 2, `${found.length} epochs`)
    assert.ok(found.every(({ valid }) => valid))
    assert.deepEqual(state(a), state(c))
  })
})
