import assert from 'node:assert/strict'
import { readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { systemDisk, type Disk } from '../../src/crdt/disk.ts'
import type { Replica } from '../../src/crdt/replica.ts'
import { Bench, invite, peerRecord, pull, serviceInput, signer, state } from './support.ts'
import { mortal } from './support/mortal-disk.ts'

const every = 20

describe('crdt/snapshot', function () {
  this.timeout(120_000)
  const bench = new Bench()
  afterEach(() => bench.clean())

  const open = (dir: string, disk?: Disk): Promise<Replica> => bench.open(dir, signer(1), disk, every)
  const segments = async (dir: string): Promise<string[]> =>
    readdir(join(dir, 'cluster', 'archive')).catch(() => [] as string[])

  /** Until what was begun in the background has ended: one more write goes behind it. */
  async function settled(a: Replica): Promise<void> {
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setTimeout(resolve, 5))
    await a.putPeer(peerRecord(a.self, `alpha-${a.view().revision}`))
  }

  /** Two peers with some history: records that came and went, a role, a revocation with what fell out by it. */
  async function lived(): Promise<{ dir: string; a: Replica; b: Replica }> {
    const dir = await bench.dir()
    const a = await open(dir)
    await a.init({ name: 'home', record: peerRecord(a.self, 'alpha') })
    const b = await bench.joiner(a, 2)
    const c = await bench.joiner(a, 3)
    for (const [to, from] of [
      [a, b],
      [a, c],
      [b, a],
      [c, a]
    ] as const)
      await pull(to, from)
    for (let i = 0; i < 30; i++) {
      const { id } = await a.createService(serviceInput(a, b, { name: `s${i}` }))
      await a.addRoutes(id, [{ dest_cidr: `10.${i}.0.0/16` }, { source_cidr: `10.0.${i}.0/24` }])
      if (i % 4 === 0) await a.deleteService(id)
      if (i % 5 === 0) await settled(a)
    }
    const { id } = await c.createService(serviceInput(a, c, { name: 'by c' }))
    await pull(b, c)
    await b.updateService(id, { name: 'by c and b' })
    await a.revoke(c.self)
    await a.setRole(b.self, 'member')
    await pull(a, b)
    for (let i = 0; i < 20; i++) await a.updateService([...a.view().services.keys()][i] ?? '', { name: `t${i}` })
    await settled(a)
    return { dir, a, b }
  }

  async function verified(a: Replica): Promise<number> {
    const history = await a.history({})
    assert.ok(history.every((entry) => entry.verified))
    const { flaw, verified: signed } = await a.verify()
    assert.equal(flaw, null)
    assert.equal(signed, history.length)
    return history.length
  }

  it('a start from it is the start from the whole history: same state, same history, same answers to others', async () => {
    const { dir, a } = await lived()
    const expected = state(a)
    const entries = await verified(a)
    const handed = a.bootstrap().envelopes.map((bytes) => Buffer.from(bytes).toString('hex'))
    await a.close()
    assert.ok((await segments(dir)).length >= 2, 'nothing was archived')
    for (const way of ['with the snapshot', 'without it', 'with the one taken from that']) {
      if (way === 'without it') await rm(join(dir, 'cluster', 'snapshot'))
      const again = await open(dir)
      assert.deepEqual(state(again), expected, way)
      assert.equal(again.damage(), null)
      assert.equal(await verified(again), entries)
      assert.deepEqual(
        again.bootstrap().envelopes.map((bytes) => Buffer.from(bytes).toString('hex')),
        handed
      )
      assert.ok(again.view().rejected.length > 0)
      await again.close()
    }
  })

  it('what comes after it goes on from it: own writes, those of others, and what they make fall out', async () => {
    const { dir, a, b } = await lived()
    await a.close()
    const again = await open(dir)
    await pull(b, again)
    await again.admit({ token: invite(again), peer: signer(4).peerId, name: 'delta' })
    const d = await bench.joiner(again, 5)
    await pull(again, d)
    const [first, second] = [...again.view().services.keys()]
    await d.updateService(first ?? '', { name: 'by d' })
    await d.deleteService(second ?? '')
    await pull(again, d)
    assert.equal(again.view().services.get(first ?? '')?.name, 'by d')
    await again.revoke(d.self)
    for (let i = 0; i < 25; i++) await again.updateService(first ?? '', { name: `u${i}` })
    await settled(again)
    const expected = state(again)
    await pull(b, again)
    assert.deepEqual(state(b), expected)
    await again.close()
    const third = await open(dir)
    assert.deepEqual(state(third), expected)
  })

  it('damaged in any way it is not used, and nothing is lost', async () => {
    const { dir, a } = await lived()
    const expected = state(a)
    await a.close()
    const path = join(dir, 'cluster', 'snapshot')
    const bytes = await readFile(path)
    await fc.assert(
      fc.asyncProperty(
        fc.nat(bytes.length - 1),
        fc.integer({ min: 1, max: 255 }),
        fc.boolean(),
        async (at, flip, cut) => {
          const broken = cut ? bytes.subarray(0, at) : Buffer.from(bytes)
          if (!cut) broken[at] = (broken[at] as number) ^ flip
          await writeFile(path, broken)
          const again = await open(dir)
          assert.deepEqual(state(again), expected)
          await again.close()
        }
      ),
      { numRuns: 25 }
    )
  })

  it('a segment that is damaged or missing is named; what can be read is kept, the rest comes from others', async () => {
    for (const wound of ['flip', 'cut', 'missing'] as const) {
      const { dir, a, b } = await lived()
      await pull(b, a)
      const expected = state(a)
      await a.close()
      const path = join(dir, 'cluster', 'archive', '000002')
      const bytes = await readFile(path)
      if (wound === 'missing') await rm(path)
      else if (wound === 'cut') await writeFile(path, bytes.subarray(0, bytes.length - 100))
      else
        await writeFile(
          path,
          bytes.map((byte, i) => (i === bytes.length >> 1 ? byte ^ 1 : byte))
        )
      // Where the index alone is read, a changed byte is met when the history is: the snapshot still stands.
      if (wound === 'flip') await rm(join(dir, 'cluster', 'snapshot'))
      const hurt = await open(dir)
      assert.match(hurt.damage()?.message ?? '', /000002.*(damaged|missing|too soon)/)
      await pull(hurt, b)
      assert.deepEqual(state(hurt), expected, wound)
      await verified(hurt)
      await hurt.close()
      const healed = await open(dir)
      assert.equal(healed.damage(), null)
      assert.deepEqual(state(healed), expected)
      await bench.clean()
    }
  })

  it('a process that ends at any operation of the disk while one is taken loses nothing', async () => {
    let crashes = 0
    for (let operations = 0; ; operations++) {
      const dir = await bench.dir()
      const founder = await open(dir)
      await founder.init({ name: 'home', record: peerRecord(founder.self, 'alpha') })
      await founder.close()
      const dying = mortal(systemDisk)
      const a = await open(dir, dying.disk)
      const acknowledged: string[] = []
      // Up to the eve of it, then so many operations more.
      for (let i = 0; i < every + 5; i++) {
        if (i === every - 4) dying.left = operations
        const name = `n${i}`
        await a
          .putPeer(peerRecord(a.self, name))
          .then(() => acknowledged.push(name))
          .catch(() => {})
        await new Promise((resolve) => setTimeout(resolve, 2))
      }
      const crashed = dying.left <= 0
      crashes += crashed ? 1 : 0
      await a.close().catch(() => {})
      await rm(join(dir, 'cluster', 'lock'), { force: true })
      const again = await open(dir)
      assert.equal(again.damage(), null, `after ${operations} operations`)
      const names = (await again.history({})).map(({ objects }) => String(objects[0]?.fields['name']?.after))
      for (const name of acknowledged) assert.ok(names.includes(name), `${name} is lost after ${operations} operations`)
      await again.putPeer(peerRecord(again.self, 'after'))
      await bench.clean()
      if (!crashed) break
    }
    assert.ok(crashes > 20, `${crashes} crashes`)
  })

  it('that cannot be written, for want of room, is no failure of the writes', async () => {
    const dir = await bench.dir()
    let full = true
    const cramped: Disk = {
      ...systemDisk,
      copy: (from, to) =>
        full ? Promise.reject(Object.assign(new Error('full'), { code: 'ENOSPC' })) : systemDisk.copy(from, to)
    }
    const a = await open(dir, cramped)
    await a.init({ name: 'home', record: peerRecord(a.self, 'alpha') })
    for (let i = 0; i < 3 * every; i++) await a.putPeer(peerRecord(a.self, `n${i}`))
    await settled(a)
    assert.deepEqual(await segments(dir), [])
    full = false
    for (let i = 0; i < 2 * every; i++) await a.putPeer(peerRecord(a.self, `m${i}`))
    await settled(a)
    assert.ok((await segments(dir)).length > 0)
    const expected = state(a)
    await a.close()
    assert.deepEqual(state(await open(dir)), expected)
  })

  it('of a cluster that was left is put aside, and the next cluster has its own', async () => {
    const { dir, a } = await lived()
    await a.forget()
    await a.init({ name: 'next', record: peerRecord(a.self, 'alpha') })
    for (let i = 0; i < 2 * every; i++) await a.putPeer(peerRecord(a.self, `n${i}`))
    await settled(a)
    const expected = state(a)
    await a.close()
    const again = await open(dir)
    assert.deepEqual(state(again), expected)
    assert.equal(await verified(again), again.bootstrap().envelopes.length)
    assert.ok((await segments(dir)).some((name) => name.includes('.left-')))
  })
})
