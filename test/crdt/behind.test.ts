import assert from 'node:assert/strict'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import { saveAside, type Saver } from '../../src/crdt/document-aside.ts'
import { systemDisk } from '../../src/crdt/disk.ts'
import { UnavailableError } from '../../src/errors.ts'
import { invite, Observer, peerRecord, pull, serviceInput, signer, state } from './support.ts'
import { fill, Joins, level, whole } from './support/joins.ts'
import { mortal } from './support/mortal-disk.ts'

describe('crdt/behind', function () {
  this.timeout(120_000)
  const bench = new Joins()
  afterEach(() => bench.clean())

  it('a joiner serves at once, says how far it is, and ends as one that has taken the whole history', async () => {
    const { a } = await bench.lived()
    const d = await bench.joined(a, 4)
    assert.deepEqual(state(d), state(a))
    const { verified, entries, author } = d.behind() ?? {}
    assert.equal(author, a.self)
    assert.ok(verified != null && entries != null && verified > 0 && verified < entries)
    await fill(d, a, 10)
    assert.equal(d.behind()?.verified, verified + 10)
    assert.deepEqual(state(d), state(a))
    await fill(d, a)
    await whole(d)
    assert.deepEqual(state(d), state(a))
    assert.equal(d.contradiction(), null)
    await pull(d, a)
    assert.equal((await d.verify()).flaw, null)
    assert.equal((await d.history({})).length, (await a.history({})).length)
    assert.ok((await d.history({})).every(({ verified: signed }) => signed))
  })

  for (const [where, outcome] of [
    ['on a thread of its own', saveAside],
    ['here when that fails', () => Promise.reject(new Error('no thread'))]
  ] as Array<[string, Saver]>) {
    it(`the document that the history comes to is made ${where}, and compared`, async () => {
      const { a } = await bench.lived()
      let [asked, given] = [0, 0]
      const saver: Saver = async (unsaved) => {
        asked++
        const saved = await outcome(unsaved)
        given = saved.bytes.length
        return saved
      }
      const d = await bench.joined(a, 4, undefined, undefined, saver)
      // What was taken over is read there too, which nobody waits for.
      assert.equal(asked, 1)
      await fill(d, a)
      await whole(d)
      assert.deepEqual([asked, given > 0], [2, where === 'on a thread of its own'])
      assert.deepEqual([d.contradiction(), state(d)], [null, state(a)])
      const [id = ''] = d.view().services.keys()
      await d.updateService(id, { name: 'by d' })
      await level(d, a)
      assert.deepEqual(state(d), state(a))
      assert.equal((await d.verify()).flaw, null)
    })
  }

  it('a cluster that is left while its history is compared has no part in the one that is joined after it', async () => {
    const { a } = await bench.lived()
    const [begun, released, made] = [1, 2, 3].map(() => Promise.withResolvers<void>()) as Resolvers
    let asked = 0
    const saver: Saver = async (unsaved) => {
      // The second one is the document that the history comes to.
      if (++asked !== 2) return saveAside(unsaved)
      begun.resolve()
      await released.promise
      return saveAside(unsaved).finally(made.resolve)
    }
    const d = await bench.joined(a, 4, undefined, undefined, saver)
    await fill(d, a)
    await begun.promise
    await d.forget()
    const handed = (await a.bootstrapSnapshot()) ?? assert.fail('there is no snapshot')
    assert.equal(await d.adoptSnapshot({ ...handed, token: invite(a) }), null)
    released.resolve()
    await made.promise
    await new Promise((resolve) => setTimeout(resolve, 100))
    assert.ok(d.behind() != null)
    await level(d, a)
    await fill(d, a)
    await whole(d)
    await d.close()
    const again = await bench.peer(4, bench.dirOf(d))
    assert.deepEqual([again.damage(), again.behind()], [null, null])
    await level(again, a)
    assert.deepEqual(state(again), state(a))
    assert.equal((await again.verify()).flaw, null)
  })

  it('an honest admin is not contradicted by what has come and is on its way to the disk', async () => {
    const { a } = await bench.lived()
    const d = await bench.joined(a, 4)
    const missing = [...a.missing(d.behind()?.vector() ?? {}, 1_000)].flat()
    const filling = d.receiveBehind(missing, a.self)
    // Whatever comes meanwhile asks whether the history is whole.
    for (let i = 0; i < 200 && d.behind() != null; i++) {
      await d.receive([], a.self)
      await turn()
    }
    await filling
    await whole(d)
    assert.equal(d.contradiction(), null)
    assert.deepEqual(state(d), state(a))
  })

  it('an honest admin is not contradicted for what its disk has refused before it signed', async () => {
    const fragile = mortal(systemDisk)
    const a = await bench.peer(1, undefined, fragile.disk)
    await a.init({ name: 'home', record: peerRecord(a.self, 'alpha') })
    const b = await bench.joiner(a, 2)
    const { id } = await a.createService(serviceInput(a, b, { name: 'before' }))
    fragile.left = 0
    const routes = Array.from({ length: 5 }, (_, i) => ({ dest_cidr: `10.${i}.0.0/16` }))
    await assert.rejects(a.addRoutes(id, routes), UnavailableError)
    fragile.left = Infinity
    // What is written next has the numbers of what was refused, and makes other objects.
    await a.updateService(id, { name: 'after' })
    await a.signEpoch()
    const d = await bench.joined(a, 4)
    await fill(d, a)
    await whole(d)
    assert.equal(d.contradiction(), null)
    assert.deepEqual(state(d), state(a))
  })

  it('of a short history there is a snapshot only when an operator has asked for one', async () => {
    const a = await bench.founder(1)
    assert.equal(await a.bootstrapSnapshot(), null)
    await a.signEpoch()
    assert.ok((await a.bootstrapSnapshot()) != null)
  })

  it('what is written meanwhile, here and elsewhere, and who is thrown out, is in force at once and stays', async () => {
    const { a, b } = await bench.lived()
    const d = await bench.joined(a, 4)
    await d.putPeer(peerRecord(d.self, 'delta'))
    const [first = '', second = ''] = a.view().services.keys()
    await d.updateService(first, { name: 'by d' })
    await pull(b, d)
    await b.updateService(second, { name: 'by b' })
    await pull(d, b)
    assert.equal(d.view().services.get(second)?.name, 'by b')
    await pull(a, d)
    await a.revoke(b.self)
    await level(d, a)
    assert.ok(!d.isMember(b.self))
    assert.deepEqual(state(d), state(a))
    await fill(d, a)
    await whole(d)
    assert.deepEqual(state(d), state(a))
    assert.equal(d.view().services.get(first)?.name, 'by d')
    await d.deleteService(first)
    await level(d, a)
    assert.deepEqual(state(d), state(a))
  })

  it('what is to be told of the past waits until it is there, and says so', async () => {
    const { a } = await bench.lived()
    const d = await bench.joined(a, 4)
    await assert.rejects(d.verify(), /verified \d+ of the \d+ entries .* try again later/)
    await assert.rejects(d.past({ time: Date.now() - 10 }), UnavailableError)
    await assert.rejects(d.signEpoch(), UnavailableError)
    await assert.rejects(d.admit({ token: invite(d), peer: signer(8).peerId, name: 'eight' }), UnavailableError)
    const history = await d.history({})
    assert.equal(history.length, (await a.history({})).length)
    const changes = history.filter(({ kind }) => kind === 'change')
    assert.ok(changes.some(({ pending, verified }) => pending === true && !verified))
    assert.ok(history.every(({ kind, verified, pending }) => kind !== 'auth' || (verified && pending == null)))
    // What a change said is in the document that was taken over, and so may be undone.
    const [, renamed = ''] = a.view().services.keys()
    await a.updateService(renamed, { name: 'renamed' })
    await pull(d, a)
    const { objects } = (await d.history({ object: renamed, limit: 1 }))[0] ?? {}
    assert.deepEqual(objects?.[0]?.fields['name']?.after, 'renamed')
    const created = (await d.history({ object: renamed })).findLast(({ kind }) => kind === 'change')
    assert.equal(created?.pending, true)
    assert.equal(created?.objects[0]?.action, 'created')
    await fill(d, a)
    await whole(d)
    assert.equal((await d.verify()).flaw, null)
    await d.past({ change: created?.id ?? '' })
  })

  it('others get from it what it has, and the rest from elsewhere', async () => {
    const { a, b } = await bench.lived()
    const e = await bench.joiner(a, 5)
    await pull(a, e)
    const d = await bench.joined(a, 4)
    await d.putPeer(peerRecord(d.self, 'delta'))
    const fresh = new Observer(a.bootstrap().genesis)
    fresh.take([...d.missing({}, 1e6)].flat())
    assert.ok(fresh.view.members.has(d.self))
    await pull(e, d)
    await pull(e, a)
    await pull(e, d)
    await pull(b, e)
    assert.deepEqual(state(e), state(d))
    assert.deepEqual(state(b), state(d))
  })

  it('a process that ends before the history is whole goes on where it was, with what was written meanwhile', async () => {
    const { a } = await bench.lived()
    const dir = await bench.dir()
    let d = await bench.joined(a, 4, undefined, dir)
    await d.putPeer(peerRecord(d.self, 'delta'))
    const [first = ''] = a.view().services.keys()
    await d.updateService(first, { name: 'by d' })
    await fill(d, a, 9)
    const verified = d.behind()?.verified
    const before = state(d)
    await d.close()
    d = await bench.peer(4, dir)
    assert.deepEqual(state(d), before)
    assert.equal(d.behind()?.verified, verified)
    assert.equal(d.damage(), null)
    await pull(a, d)
    await fill(d, a)
    await whole(d)
    await level(d, a)
    assert.deepEqual(state(d), state(a))
    await d.close()
    d = await bench.peer(4, dir)
    assert.equal(d.behind(), null)
    assert.deepEqual(state(d), state(a))
    assert.equal((await d.verify()).flaw, null)
  })

  it('a process that ends at any operation of the disk loses nothing, and misreads nothing', async () => {
    const { a } = await bench.lived()
    const token = invite(a)
    await a.admit({ token, peer: signer(4).peerId, name: 'four' })
    const handed = await a.bootstrapSnapshot()
    assert.ok(handed != null)
    let crashes = 0
    for (let operations = 0; ; operations++) {
      const dir = await bench.dir()
      await (await bench.peer(4, dir)).close()
      const dying = mortal(systemDisk)
      const d = await bench.peer(4, dir, dying.disk)
      dying.left = operations
      let acknowledged = ''
      const story = async (): Promise<void> => {
        await d.adoptSnapshot({ ...handed, token })
        await pull(d, a)
        for (const name of ['one', 'two', 'three']) {
          await d.putPeer(peerRecord(d.self, name))
          acknowledged = name
          await fill(d, a, 20)
        }
        await fill(d, a)
        await whole(d)
      }
      await story().catch(() => {})
      const crashed = dying.left <= 0
      crashes += crashed ? 1 : 0
      await d.close().catch(() => {})
      await rm(join(dir, 'cluster', 'lock'), { force: true })
      const again = await bench.peer(4, dir)
      assert.equal(again.damage(), null, `after ${operations} operations`)
      if (again.clusterId() == null) assert.equal(acknowledged, '')
      else {
        if (acknowledged !== '') {
          const names = (await again.history({})).map(({ objects }) => String(objects[0]?.fields['name']?.after))
          assert.ok(names.includes(acknowledged), `${acknowledged} is lost after ${operations} operations`)
        }
        await fill(again, a)
        await whole(again)
        await pull(again, a)
        assert.equal((await again.verify()).flaw, null)
        assert.deepEqual([...again.view().services.keys()], [...a.view().services.keys()])
      }
      await again.close()
      if (!crashed) break
    }
    assert.ok(crashes > 15, `${crashes} crashes`)
  })
})

type Resolvers = [PromiseWithResolvers<void>, PromiseWithResolvers<void>, PromiseWithResolvers<void>]
