import assert from 'node:assert/strict'
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { saveAside, type Saver } from '../../src/crdt/document-aside.ts'
import { encodeEpoch, encodeRevoke, FIRST } from '../../src/crdt/authlog.ts'
import { systemDisk, type Disk } from '../../src/crdt/disk.ts'
import { parseEnvelope, sealEnvelope } from '../../src/crdt/envelope.ts'
import type { Replica } from '../../src/crdt/replica.ts'
import { decodeSnapshot, digestOf, encodeSnapshot, type Snapshot, type SnapshotHead } from '../../src/crdt/snapshot.ts'
import { UnavailableError } from '../../src/errors.ts'
import { Bench, invite, Observer, peerRecord, pull, serviceInput, signer, state } from './support.ts'
import { memoryDisk } from './support/memory-disk.ts'
import { mortal } from './support/mortal-disk.ts'

describe('crdt/behind', function () {
  this.timeout(120_000)
  const bench = new Bench()
  afterEach(() => bench.clean())

  const every = 20
  const open = async (n: number, dir?: string, disk?: Disk, saver?: Saver): Promise<Replica> =>
    bench.open(dir ?? (await bench.dir()), signer(n), disk, 25, every, saver)

  /** Some history by two admins, one of whom is thrown out with something that others built on. */
  async function lived(): Promise<{ a: Replica; b: Replica }> {
    const a = await open(1)
    await a.init({ name: 'home', record: peerRecord(a.self, 'alpha') })
    const b = await bench.joiner(a, 2)
    const c = await bench.joiner(a, 3)
    for (const other of [b, c]) await pull(a, other)
    for (const other of [b, c]) await pull(other, a)
    for (let i = 0; i < 12; i++) {
      const { id } = await a.createService(serviceInput(a, b, { name: `s${i}` }))
      await b.receive([...a.missing(b.vector(), 1e6)].flat(), a.self)
      await b.addRoutes(id, [{ dest_cidr: `10.${i}.0.0/16` }])
      await pull(a, b)
      if (i % 4 === 0) await a.deleteService(id)
    }
    const { id } = await c.createService(serviceInput(a, c, { name: 'by c' }))
    await pull(b, c)
    await b.updateService(id, { name: 'by c and b' })
    await a.revoke(c.self)
    await pull(b, a)
    await pull(a, b)
    // Side by side.
    const [first = ''] = a.view().services.keys()
    await a.updateService(first, { name: 'by a beside b', bandwidth_limit_mbps: 3 })
    await b.updateService(first, { name: 'by b beside a' })
    await pull(b, a)
    await pull(a, b)
    return { a, b }
  }

  /** A peer that has joined by a snapshot, and has nothing of the history behind it. */
  async function joined(a: Replica, n: number, disk?: Disk, dir?: string, saver?: Saver): Promise<Replica> {
    const d = await open(n, dir, disk, saver)
    const token = invite(a)
    await a.admit({ token, peer: d.self, name: `peer-${n}` })
    const handed = await a.bootstrapSnapshot()
    assert.ok(handed != null, 'there is no snapshot')
    assert.equal(await d.adoptSnapshot({ ...handed, token }), null)
    // What came after the snapshot comes as ever.
    await pull(d, a)
    return d
  }

  /** Hands over what is missing behind the snapshot, at most so many envelopes. */
  async function fill(to: Replica, from: Replica, count = Infinity): Promise<void> {
    const behind = to.behind()
    if (behind == null) return
    const missing = [...from.missing(behind.vector(), 1_000)].flat().slice(0, count)
    for (let i = 0; i < missing.length; i += 7) await to.receiveBehind(missing.slice(i, i + 7), from.self)
    if (count === Infinity) to.behindEnded(from.self)
  }

  async function closed(replica: Replica): Promise<Replica> {
    await replica.close()
    return replica
  }

  /** Until what has been verified has taken its place. */
  async function whole(replica: Replica): Promise<void> {
    for (let i = 0; i < 400 && replica.behind() != null; i++) await new Promise((resolve) => setTimeout(resolve, 5))
    assert.equal(replica.behind(), null)
  }

  it('a joiner serves at once, says how far it is, and ends as one that has taken the whole history', async () => {
    const { a } = await lived()
    const d = await joined(a, 4)
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
      const { a } = await lived()
      let [asked, given] = [0, 0]
      const saver: Saver = async (unsaved) => {
        asked++
        const saved = await outcome(unsaved)
        given = saved.bytes.length
        return saved
      }
      const d = await joined(a, 4, undefined, undefined, saver)
      assert.equal(asked, 0)
      await fill(d, a)
      await whole(d)
      assert.deepEqual([asked, given > 0], [1, where === 'on a thread of its own'])
      assert.deepEqual([d.contradiction(), state(d)], [null, state(a)])
      const [id = ''] = d.view().services.keys()
      await d.updateService(id, { name: 'by d' })
      await pull(a, d)
      assert.deepEqual(state(d), state(a))
      assert.equal((await d.verify()).flaw, null)
    })
  }

  it('of a short history there is a snapshot only when an operator has asked for one', async () => {
    const a = await bench.founder(1)
    assert.equal(await a.bootstrapSnapshot(), null)
    await a.signEpoch()
    assert.ok((await a.bootstrapSnapshot()) != null)
  })

  it('what is written meanwhile, here and elsewhere, and who is thrown out, is in force at once and stays', async () => {
    const { a, b } = await lived()
    const d = await joined(a, 4)
    await d.putPeer(peerRecord(d.self, 'delta'))
    const [first = '', second = ''] = a.view().services.keys()
    await d.updateService(first, { name: 'by d' })
    await pull(b, d)
    await b.updateService(second, { name: 'by b' })
    await pull(d, b)
    assert.equal(d.view().services.get(second)?.name, 'by b')
    await pull(a, d)
    await a.revoke(b.self)
    await pull(d, a)
    assert.ok(!d.isMember(b.self))
    assert.deepEqual(state(d), state(a))
    await fill(d, a)
    await whole(d)
    assert.deepEqual(state(d), state(a))
    assert.equal(d.view().services.get(first)?.name, 'by d')
    await d.deleteService(first)
    await pull(a, d)
    assert.deepEqual(state(d), state(a))
  })

  it('what is to be told of the past waits until it is there, and says so', async () => {
    const { a } = await lived()
    const d = await joined(a, 4)
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
    const { a, b } = await lived()
    const e = await bench.joiner(a, 5)
    await pull(a, e)
    const d = await joined(a, 4)
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
    const { a } = await lived()
    const dir = await bench.dir()
    let d = await joined(a, 4, undefined, dir)
    await d.putPeer(peerRecord(d.self, 'delta'))
    const [first = ''] = a.view().services.keys()
    await d.updateService(first, { name: 'by d' })
    await fill(d, a, 9)
    const verified = d.behind()?.verified
    const before = state(d)
    await d.close()
    d = await open(4, dir)
    assert.deepEqual(state(d), before)
    assert.equal(d.behind()?.verified, verified)
    assert.equal(d.damage(), null)
    await pull(a, d)
    await fill(d, a)
    await whole(d)
    await pull(d, a)
    assert.deepEqual(state(d), state(a))
    await d.close()
    d = await open(4, dir)
    assert.equal(d.behind(), null)
    assert.deepEqual(state(d), state(a))
    assert.equal((await d.verify()).flaw, null)
  })

  it('a process that ends at any operation of the disk loses nothing, and misreads nothing', async () => {
    const { a } = await lived()
    const token = invite(a)
    await a.admit({ token, peer: signer(4).peerId, name: 'four' })
    const handed = await a.bootstrapSnapshot()
    assert.ok(handed != null)
    let crashes = 0
    for (let operations = 0; ; operations++) {
      const dir = await bench.dir()
      await (await open(4, dir)).close()
      const dying = mortal(systemDisk)
      const d = await open(4, dir, dying.disk)
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
      const again = await open(4, dir)
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

  describe('with a snapshot that is not to be believed', () => {
    /** An admin that says what it likes. Returns a peer that is asked to believe it, and what came of that. */
    async function hostile(
      lie: (snapshot: Snapshot) => void,
      { role = 'admin', sign = true }: { role?: 'admin' | 'member'; sign?: boolean } = {}
    ): Promise<{ a: Replica; d: Replica; liar: string; refused: string | null }> {
      const { a } = await lived()
      const liar = signer(7)
      const tokenOf = (given: 'admin' | 'member'): string =>
        a.createInvite({ ttlMs: 60_000, uses: 1, role: given, addresses: ['/ip4/127.0.0.1/tcp/7946'] })
      await a.admit({ token: tokenOf(role), peer: liar.peerId, name: 'liar' })
      await a.signEpoch()
      const snapshot = decodeSnapshot(await readFile(join(bench.dirOf(a), 'cluster', 'epoch')))
      lie(snapshot)
      const file = encodeSnapshot(snapshot)
      const epoch = {
        previous: FIRST,
        entries: snapshot.head.entries.length,
        bytes: file.length,
        digest: digestOf(file)
      }
      const body = encodeEpoch(epoch)
      const parts = { kind: 'auth', incarnation: 9, seq: 1, writtenAt: Date.now(), body } as const
      if (sign) await a.receive([sealEnvelope(liar, a.clusterId() ?? '', parts).bytes], liar.peerId)
      const token = tokenOf('admin')
      const d = await open(4)
      await a.admit({ token, peer: d.self, name: 'four' })
      const { genesis } = a.bootstrap()
      const outcome = await d.adoptSnapshot({ genesis, auth: a.authLog(), snapshot: file, token })
      if (outcome != null) {
        assert.equal(d.clusterId(), null)
        await d.adopt({ ...a.bootstrap(), token })
      } else await pull(d, a)
      return { a, d, liar: liar.peerId, refused: outcome?.refused ?? null }
    }

    const changeName = ({ head }: Snapshot): void => {
      const record = head.records.find(([kind]) => kind === 'services')
      assert.ok(record != null)
      record[2] = { ...(record[2] as object), name: 'not what was written' }
    }

    it('a record that nobody has written is shown until the history says otherwise, and its signer is named', async () => {
      const { a, d, liar, refused } = await hostile(changeName)
      assert.equal(refused, null)
      assert.ok([...d.view().services.values()].some(({ name }) => name === 'not what was written'))
      await d.putPeer(peerRecord(d.self, 'delta'))
      await fill(d, a)
      await whole(d)
      assert.deepEqual([d.contradiction()?.author, d.contradiction()?.epoch != null], [liar, true])
      assert.match(d.contradiction()?.message ?? '', /the record .* of services is another one/)
      for (let round = 0; round < 2; round++) {
        await pull(d, a)
        await pull(a, d)
      }
      assert.deepEqual(state(d), state(a))
      assert.equal(a.view().members.get(d.self)?.record?.name, 'delta')
      assert.equal((await d.verify()).flaw, null)
    })

    it('a change that nobody has made is never waited for: its signer does not know it either', async () => {
      const { a, d, liar, refused } = await hostile(({ head }) => {
        const last = head.entries.findLast((row) => row[13] == null)
        assert.ok(last != null)
        last[3] = 'ab'.repeat(32)
      })
      assert.equal(refused, null)
      const [first = ''] = a.view().services.keys()
      // It builds on that change, so it cannot stay where it is.
      await d.updateService(first, { name: 'written on top of it' })
      await fill(d, a)
      if (d.behind() != null) d.behindEnded(liar)
      await whole(d)
      assert.equal(d.contradiction()?.author, liar)
      await until(() => d.view().services.get(first)?.name === 'written on top of it')
      await pull(d, a)
      await pull(a, d)
      assert.deepEqual(state(d), state(a))
      assert.equal(a.view().services.get(first)?.name, 'written on top of it')
      assert.equal((await a.verify()).flaw, null)
    })

    it('what it says of who has set what is not looked at, though all else in it is right', async () => {
      const { a, d, refused } = await hostile(({ head }) => {
        // As if nothing was there any more.
        const made = head.objects.filter(([, isMap, kind, , field]) => isMap === 1 && kind != null && field === null)
        head.told = { left: [], rows: made.map(() => 0) }
      })
      assert.equal(refused, null)
      const [first = '', second = '', third = ''] = a.view().services.keys()
      await d.updateService(first, { name: 'by d' })
      await a.updateService(first, { bandwidth_limit_mbps: 7 })
      await a.updateService(second, { name: 'by a' })
      const e = await open(4, bench.dirOf(await closed(d)))
      await pull(e, a)
      await e.updateService(third, { name: 'by d after a start' })
      await pull(a, e)
      assert.deepEqual(state(e), state(a))
      await fill(e, a)
      await whole(e)
      assert.equal(e.contradiction(), null)
      assert.deepEqual(state(e), state(a))
      const { name, bandwidth_limit_mbps: limit } = e.view().services.get(first) ?? {}
      assert.deepEqual([name, limit], ['by d', 7])
    })

    it('one that says where it stands on a disk is refused: it could be taken for the own one later', async () => {
      const { a, d, refused } = await hostile(({ head }) => void Object.assign(head, { segments: 1, bytes: 4711 }))
      assert.match(refused ?? '', /not made for others/)
      assert.deepEqual(state(d), state(a))
    })

    it('a signer that is thrown out for the time before is not believed any more', async () => {
      const { a, d, refused } = await hostile(changeName)
      assert.equal(refused, null)
      const liar = signer(7)
      // By who had not seen the epoch: nothing of the liar's counts.
      const { previous } = { previous: (await a.history({})).find(({ author }) => author === a.self)?.id ?? '' }
      assert.notEqual(previous, '')
      const before = d.view()
      const cut = new Map<string, number>()
      const b = await open(1, await bench.dir())
      assert.equal(b.self, a.self)
      await b.close()
      const lastAuth = a
        .authLog()
        .map((bytes) => parseEnvelope(bytes))
        .findLast(({ authorId }) => authorId === a.self)
      const body = encodeRevoke({ previous: lastAuth?.hash ?? FIRST, peer: liar.peerId, cut })
      const parts = {
        kind: 'auth',
        incarnation: lastAuth?.incarnation ?? 0,
        seq: (lastAuth?.seq ?? 0) + 1,
        writtenAt: Date.now(),
        body
      } as const
      await d.receive([sealEnvelope(signer(1), a.clusterId() ?? '', parts).bytes], a.self)
      await whole(d)
      assert.match(d.contradiction()?.message ?? '', /its epoch does not count/)
      assert.ok([...before.services.values()].some(({ name }) => name === 'not what was written'))
      assert.ok(![...d.view().services.values()].some(({ name }) => name === 'not what was written'))
      await pull(d, a)
      assert.deepEqual([...d.view().services.keys()], [...a.view().services.keys()])
    })

    for (const [what, lie, options, reason] of [
      ['that nobody has signed', changeName, { sign: false }, /no admin has signed it/],
      ['that a member has signed', changeName, { role: 'member' }, /no admin has signed it/],
      [
        'that judges a change otherwise than the rules do',
        ({ head }: Snapshot) => {
          const row = head.entries.find((one) => one[13] == null && one[10] === 1)
          assert.ok(row != null)
          row[10] = 0
        },
        {},
        /the rules have changed/
      ],
      [
        'whose document is another one',
        ({ head }: Snapshot) => {
          head.heads = ['cd'.repeat(32)]
        },
        {},
        /other one than its heads/
      ],
      [
        'with an entry of the auth log that nobody has made',
        ({ head }: Snapshot) => {
          const row = head.entries.find((one) => one[13] != null)
          assert.ok(row != null)
          row[3] = 'ab'.repeat(32)
        },
        {},
        /was not handed over/
      ]
    ] as const) {
      it(`one ${what} is refused, and the whole history taken`, async () => {
        const { a, d, refused } = await hostile(lie, options)
        assert.match(refused ?? 'believed', reason)
        await pull(d, a)
        assert.deepEqual(state(d), state(a))
      })
    }

    it('however it is mangled, it is refused or comes to nothing in the end', async () => {
      const { a } = await lived()
      await a.signEpoch()
      const good = await readFile(join(bench.dirOf(a), 'cluster', 'epoch'))
      const liar = signer(7)
      const token = invite(a)
      await a.admit({ token: invite(a), peer: liar.peerId, name: 'liar' })
      await a.admit({ token, peer: signer(4).peerId, name: 'four' })
      const all = a.bootstrap().envelopes
      const auth = a.authLog()
      const outcomes = { refused: 0, contradicted: 0, same: 0 }
      await fc.assert(
        fc.asyncProperty(
          fc.nat(),
          fc.nat(),
          fc.constantFrom<unknown>(null, -1, 0, 1, 1e20, '', 'x', [], {}, 'ab'.repeat(32)),
          async (where, which, value) => {
            const snapshot = decodeSnapshot(good)
            mangle(snapshot.head, where, which, value)
            const file = encodeSnapshot(snapshot)
            const count = Array.isArray(snapshot.head.entries) ? snapshot.head.entries.length : 1
            const body = encodeEpoch({ previous: FIRST, entries: count, bytes: file.length, digest: digestOf(file) })
            const epoch = sealEnvelope(liar, a.clusterId() ?? '', {
              kind: 'auth',
              incarnation: 9,
              seq: 1,
              writtenAt: Date.now(),
              body
            })
            const d = await bench.open('/mangled', signer(4), memoryDisk())
            const handed = { genesis: a.bootstrap().genesis, auth: [...auth, epoch.bytes], snapshot: file, token }
            if ((await d.adoptSnapshot(handed)) != null) outcomes.refused++
            else {
              for (const bytes of all) await d.receiveBehind([bytes], a.self)
              d.behindEnded(liar.peerId)
              await whole(d)
              if (d.contradiction() == null) outcomes.same++
              else outcomes.contradicted++
              await pull(d, a)
              assert.deepEqual(
                (state(d) as { services: unknown }).services,
                (state(a) as { services: unknown }).services
              )
            }
            await d.close()
          }
        ),
        { numRuns: 120, endOnFailure: true }
      )
      assert.ok(outcomes.refused > 20 && outcomes.contradicted > 3, JSON.stringify(outcomes))
    })
  })
})

/** Puts something else somewhere. */
function mangle(head: SnapshotHead, where: number, which: number, value: unknown): void {
  const lists = ['heads', 'actors', 'entries', 'objects', 'records'] as const
  const name = lists[where % lists.length] ?? 'entries'
  const list = head[name] as unknown[]
  if (which % 11 === 0) {
    ;(head as unknown as Record<string, unknown>)[name] = value
    return
  }
  const at = which % Math.max(1, list.length)
  const one = list[at]
  if (which % 7 === 0) list.splice(at, 1)
  else if (Array.isArray(one)) one[where % one.length] = value
  else list[at] = value
}

async function until(check: () => boolean): Promise<void> {
  for (let i = 0; i < 400 && !check(); i++) await new Promise((resolve) => setTimeout(resolve, 5))
  assert.ok(check())
}
