import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { saveAside, type Saver } from '../../src/crdt/document-aside.ts'
import { deferredChangesMax } from '../../src/crdt/limits.ts'
import { packed } from '../../src/crdt/packed-changes.ts'
import type { Replica } from '../../src/crdt/replica.ts'
import { encodeSnapshot } from '../../src/crdt/snapshot.ts'
import { Bench, invite, peerRecord, pull, serviceInput, signer, state } from './support.ts'
import { plainSnapshot, type PlainHead } from './support/plain-snapshot.ts'

describe('a document that is saved on a thread of its own', function () {
  this.timeout(120_000)
  const bench = new Bench()
  afterEach(() => bench.clean())

  /** A founder whose documents are saved by `saver`, a second member, and a service. */
  async function pair(saver: Saver, every: number): Promise<{ dir: string; a: Replica; b: Replica; id: string }> {
    const dir = await bench.dir()
    const a = await bench.open(dir, signer(1), undefined, every, undefined, saver)
    await a.init({ name: 'home', record: peerRecord(a.self, 'alpha') })
    const b = await bench.joiner(a, 2)
    await pull(a, b)
    const { id } = await a.createService(serviceInput(a, b, { name: 'web' }))
    return { dir, a, b, id }
  }

  async function snapshotOf(dir: string): Promise<ReturnType<typeof plainSnapshot>> {
    for (;;) {
      const file = await readFile(join(dir, 'cluster', 'snapshot')).catch(() => null)
      if (file != null) return plainSnapshot(file)
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
  }

  it('may lack what was written meanwhile: a start gives it that, and is what it was', async () => {
    let release = (): void => {}
    const released = new Promise<void>((resolve) => (release = resolve))
    const saver: Saver = async (document) => {
      const saved = await saveAside(document)
      await released
      return saved
    }
    const { dir, a, b, id } = await pair(saver, 10)
    for (let i = 0; i < 12; i++) await a.updateService(id, { bandwidth_limit_mbps: i })
    release()
    const { head } = await snapshotOf(dir)
    assert.ok((head.owed?.length ?? 0) > 0, 'nothing was written meanwhile')
    await a.updateService(id, { name: 'after' })
    const expected = state(a)
    await a.close()
    const again = await bench.open(dir, signer(1))
    assert.deepEqual(state(again), expected)
    assert.equal((await again.verify()).flaw, null)
    // Of what was in the snapshot Automerge tells, which has to be given the rest first.
    await again.updateService(id, { bandwidth_limit_mbps: 500 })
    await pull(b, again)
    assert.deepEqual(state(b), state(again))
  })

  it('is not made for each snapshot: the next ones name what it lacks, and what nothing builds on', async () => {
    let made = 0
    const saver: Saver = (document) => {
      made++
      return saveAside(document)
    }
    const { dir, a, b, id } = await pair(saver, 10)
    const path = join(dir, 'cluster', 'snapshot')
    let owed = 0
    for (let i = 0; i < 400 && owed < 30; i++) {
      await a.updateService(id, { bandwidth_limit_mbps: i })
      if (i % 10 === 0) await pull(b, a)
      if (i % 10 === 0) await b.updateService(id, { name: `by b ${i}` })
      if (i % 10 === 5) await pull(a, b)
      if (i === 12) await snapshotOf(dir)
      await new Promise((resolve) => setTimeout(resolve, 2))
      if (i > 12) owed = (await snapshotOf(dir)).head.owed?.length ?? 0
    }
    assert.deepEqual([made, owed >= 30], [1, true])
    await pull(a, b)
    const expected = state(a)
    await a.close()
    const saved = plainSnapshot(await readFile(path))
    const { tips = [] } = saved.head
    assert.ok(tips.length > 0)
    for (const [what, change] of [
      ['as it is', {}],
      ['as those of older versions', { tips: undefined }],
      ['with heads that are none', { tips: ['ab'.repeat(32)] }],
      ['with an entry that is none', { owed: [100_000] }]
    ] as Array<[string, Partial<PlainHead>]>) {
      const { owed: before } = saved.head
      await writeFile(path, encodeSnapshot({ ...saved, head: { ...saved.head, owed: before ?? [], ...change } }))
      const again = await bench.open(dir, signer(1))
      assert.deepEqual(state(again), expected, what)
      assert.equal((await again.verify()).flaw, null)
      await again.close()
    }
    // Automerge is given what it lacks, and comes to the same.
    await writeFile(path, encodeSnapshot(saved))
    const last = await bench.open(dir, signer(1), undefined, undefined, undefined, saver)
    await last.signEpoch()
    const { head } = plainSnapshot(await readFile(join(dir, 'cluster', 'epoch')))
    const { heads } = expected as { heads: string[] }
    assert.ok(head.heads.length > 0 && head.heads.every((hash) => heads.includes(hash)))
    await last.updateService(id, { name: 'after' })
    await pull(b, last)
    assert.deepEqual(state(b), state(last))
  })

  it('that cannot be made there is made here', async () => {
    const { dir, a, id } = await pair(() => Promise.reject(new Error('no thread')), 10)
    for (let i = 0; i < 12; i++) await a.updateService(id, { bandwidth_limit_mbps: i })
    const { head } = await snapshotOf(dir)
    assert.equal(head.owed, undefined)
    const expected = state(a)
    await a.close()
    assert.deepEqual(state(await bench.open(dir, signer(1))), expected)
  })

  it('is made there at a start, too, that has no snapshot of a long history, and at a join that takes all of it', async () => {
    const { dir, a, id } = await pair(saveAside, 10_000)
    const some = deferredChangesMax + 100
    await Promise.all(Array.from({ length: some }, (_, i) => a.updateService(id, { bandwidth_limit_mbps: i % 1000 })))
    const given = async (open: (saver: Saver) => Promise<unknown>): Promise<number> => {
      const { promise, resolve } = Promise.withResolvers<number>()
      await open((document) => {
        resolve(document.changes.lengths.length)
        return saveAside(document)
      })
      return promise
    }
    const joined = await given(async (saver) => {
      const token = invite(a)
      const c = await bench.open(await bench.dir(), signer(3), undefined, 1_000, undefined, saver)
      await a.admit({ token, peer: c.self, name: 'gamma' })
      await c.adopt({ token, ...a.bootstrap() })
      await c.putPeer(peerRecord(c.self, 'gamma'))
    })
    await a.close()
    const started = await given((saver) => bench.open(dir, signer(1), undefined, 1_000, undefined, saver))
    // A document that were in memory would be saved as it is.
    assert.ok(joined > some && started > some, `${joined} and ${started} changes were handed to it`)
  })

  it('is whole in what an admin signs', async () => {
    const { dir, a, id } = await pair(saveAside, 10_000)
    for (let i = 0; i < 12; i++) await a.updateService(id, { bandwidth_limit_mbps: i })
    const { heads } = a.view()
    const signing = a.signEpoch()
    await a.updateService(id, { name: 'meanwhile' })
    await signing
    const { head, document } = plainSnapshot(await readFile(join(dir, 'cluster', 'epoch')))
    assert.equal(head.owed, undefined)
    assert.ok(document.length > 0 && head.heads.every((hash) => heads.includes(hash)), 'it is of another instant')
    assert.equal((await a.verify()).flaw, null)
  })

  it('is refused there as it is here', async () => {
    const { a } = await pair(saveAside, 10_000)
    const [last] = a.bootstrap().envelopes.slice(-1)
    const changes = packed([(last as Uint8Array).subarray(154)], 1, (last as Uint8Array).length)
    await assert.rejects(saveAside({ genesis: new Uint8Array([1, 2, 3]), saved: null, changes }))
  })
})
