import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { encodeEpoch, encodeRevoke, FIRST } from '../../src/crdt/authlog.ts'
import { saveAside, type Saver } from '../../src/crdt/document-aside.ts'
import { parseEnvelope, sealEnvelope } from '../../src/crdt/envelope.ts'
import { digestOf, encodeSnapshot } from '../../src/crdt/snapshot.ts'
import { invite, peerRecord, pull, serviceInput, signer, state } from './support.ts'
import { fill, Joins, level, until, whole } from './support/joins.ts'
import { memoryDisk } from './support/memory-disk.ts'
import { plainSnapshot, type PlainHead, type PlainSnapshot } from './support/plain-snapshot.ts'

describe('a snapshot that was taken over and is not to be believed', function () {
  this.timeout(120_000)
  const bench = new Joins()
  afterEach(() => bench.clean())

  const changeName = ({ head }: PlainSnapshot): void => {
    const record = head.records.find(([kind]) => kind === 'services')
    assert.ok(record != null)
    record[2] = { ...(record[2] as object), name: 'not what was written' }
  }

  /** Those before its first changes. */
  const otherHeads = ({ head }: PlainSnapshot): void => {
    const first = head.entries.find((row) => row[13] == null && row[10] === 1)
    assert.ok(first != null)
    head.heads = [first[3]]
  }

  it('a record that nobody has written is shown until the history says otherwise, and its signer is named', async () => {
    const { a, d, liar, refused } = await bench.hostile(changeName)
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
    let first = ''
    const { a, d, liar, refused } = await bench.hostile(({ head }) => {
      const changes = head.entries.filter((row) => row[13] == null && row[10] === 1 && !head.heads.includes(row[3]))
      const written = changes.findLast(({ 7: [kind] }) => kind === 'services')
      assert.ok(written != null)
      written[3] = 'ab'.repeat(32)
      first = written[7][1] as string
    })
    assert.equal(refused, null)
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

  it('one that says where it stands on a disk is refused: it could be taken for the own one later', async () => {
    const { a, d, refused } = await bench.hostile(({ head }) => void Object.assign(head, { segments: 1, bytes: 4711 }))
    assert.match(refused ?? '', /not made for others/)
    assert.deepEqual(state(d), state(a))
  })

  it('a signer that is thrown out for the time before is not believed any more', async () => {
    const { a, d, refused } = await bench.hostile(changeName)
    assert.equal(refused, null)
    const liar = signer(7)
    // By who had not seen the epoch: nothing of the liar's counts.
    const { previous } = { previous: (await a.history({})).find(({ author }) => author === a.self)?.id ?? '' }
    assert.notEqual(previous, '')
    const before = d.view()
    const cut = new Map<string, number>()
    const b = await bench.peer(1, await bench.dir())
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
      ({ head }: PlainSnapshot) => {
        const row = head.entries.find((one) => one[13] == null && one[10] === 1)
        assert.ok(row != null)
        row[10] = 0
      },
      {},
      /the rules have changed/
    ],
    [
      'whose heads are none of its changes',
      ({ head }: PlainSnapshot) => {
        head.heads = ['cd'.repeat(32)]
      },
      {},
      /heads are none of its changes/
    ],
    ['whose document is another one', otherHeads, {}, /other one than its heads/],
    [
      'that names an object twice, in the place of another one',
      ({ head }: PlainSnapshot) => {
        const [lists, maps] = [0, 1].map((kind) => head.objects.findIndex(([, isMap]) => isMap === kind))
        head.objects[lists as number] = head.objects[maps as number] ?? assert.fail()
      },
      {},
      /its objects are not in their form/
    ],
    [
      'that names a record twice, in the place of another one',
      ({ head }: PlainSnapshot) => {
        const services = head.records.flatMap(([kind], i) => (kind === 'services' ? [i] : []))
        head.records[services[0] as number] = head.records[services[1] as number] ?? assert.fail()
        delete head.told
      },
      {},
      /its records are not in their form/
    ],
    [
      'with an entry of the auth log that nobody has made',
      ({ head }: PlainSnapshot) => {
        const row = head.entries.find((one) => one[13] != null)
        assert.ok(row != null)
        row[3] = 'ab'.repeat(32)
      },
      {},
      /was not handed over/
    ]
  ] as const) {
    it(`one ${what} is refused, and the whole history taken`, async () => {
      const { a, d, refused } = await bench.hostile(lie, options)
      assert.match(refused ?? 'believed', reason)
      await pull(d, a)
      assert.deepEqual(state(d), state(a))
    })
  }

  for (const [where, saver] of [
    ['on a thread of its own', saveAside],
    ['here when that fails', () => Promise.reject(new Error('no thread'))]
  ] as Array<[string, Saver]>) {
    it(`one whose document is another one is thrown away once it is read, which nobody waits for: ${where}`, async () => {
      const { a, d, liar, refused } = await bench.hostile(otherHeads, { saver })
      assert.equal(refused, null)
      await whole(d)
      assert.equal(d.contradiction()?.author, liar)
      assert.match(d.contradiction()?.message ?? '', /the document is another one than its heads name/)
      await pull(d, a)
      assert.deepEqual(state(d), state(a))
    })
  }

  it('what was written on top of one that is thrown away before its records have come waits for them', async () => {
    const { promise: read, resolve: readIt } = Promise.withResolvers<void>()
    const saver: Saver = (...parts) => read.then(() => saveAside(...parts))
    const { a, d, refused } = await bench.hostile(otherHeads, { saver })
    assert.equal(refused, null)
    const [first = '', second = '', third = '', fourth = ''] = d.view().services.keys()
    const before = d.view().services.get(first)
    await d.updateService(first, { name: 'written on top of it' })
    await d.updateService(second, { name: 'of one that is gone' })
    await d.deleteService(third)
    const { id } = await d.createService({ ...serviceInput(a, a, { name: 'by d' }), source_peer_id: d.self })
    await d.updateService(id, { name: 'by d, twice' })
    await a.deleteService(second)
    await a.updateService(fourth, { name: 'by a' })
    readIt()
    await whole(d)
    assert.notEqual(d.contradiction(), null)
    await until(() => d.view().services.get(id)?.name === 'by d, twice')
    assert.deepEqual([...d.view().services.keys()], [id], 'nothing stands there that is not whole')
    const all = [...a.missing(d.vector(), 200)].flat()
    for (const envelope of all) await d.receive([envelope], a.self)
    await until(() => d.view().services.get(first)?.name === 'written on top of it' && !d.view().services.has(third))
    await level(d, a)
    assert.deepEqual(state(d), state(a))
    const { services } = a.view()
    assert.deepEqual(
      [first, second, third, fourth].map((one) => services.get(one)?.name),
      ['written on top of it', undefined, undefined, 'by a']
    )
    assert.equal(services.get(first)?.target_peer_id, before?.target_peer_id)
    assert.equal((await a.verify()).flaw, null)
  })

  it('one whose head is no JSON is refused, wherever it is broken', async () => {
    const { a } = await bench.lived()
    await a.signEpoch()
    const good = await readFile(join(bench.dirOf(a), 'cluster', 'epoch'))
    const { entries } = plainSnapshot(good).head
    const liar = signer(7)
    const token = invite(a)
    await a.admit({ token: invite(a), peer: liar.peerId, name: 'liar' })
    await a.admit({ token, peer: signer(4).peerId, name: 'four' })
    const parts = { kind: 'auth', incarnation: 9, seq: 1, writtenAt: Date.now() } as const
    const places = [
      '{"cluster"',
      '"heads":',
      '"objects":[',
      '"entries":[',
      '"rows":[',
      `"${entries.at(-1)?.[3]}"`,
      '"left":'
    ]
    for (const place of places) {
      const file = Buffer.from(good)
      const at = file.indexOf(place)
      assert.ok(at > 0, place)
      file[at + place.length - 1] = 0x3b
      createHash('sha256').update(file.subarray(44)).digest().copy(file, 12)
      const body = encodeEpoch({ previous: FIRST, entries: entries.length, bytes: file.length, digest: digestOf(file) })
      const epoch = sealEnvelope(liar, a.clusterId() ?? '', { ...parts, body })
      const d = await bench.open('/no JSON', signer(4), memoryDisk())
      const handed = { genesis: a.bootstrap().genesis, auth: [...a.authLog(), epoch.bytes], snapshot: file, token }
      assert.deepEqual(await d.adoptSnapshot(handed), { refused: 'it is no JSON' }, place)
      await d.adopt({ ...a.bootstrap(), token })
      assert.deepEqual(state(d), state(a))
      await d.close()
    }
  })

  it('however it is mangled, it is refused or comes to nothing in the end', async () => {
    const { a } = await bench.lived()
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
        fc.boolean(),
        async (where, which, value, isTold) => {
          const snapshot = plainSnapshot(good)
          // With what is told most of it is found at once.
          if (!isTold) delete snapshot.head.told
          else if (which % 3 === 0) mangleTold(snapshot.head, where, which, value)
          if (!isTold || which % 3 !== 0) mangle(snapshot.head, where, which, value)
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
            assert.deepEqual((state(d) as { services: unknown }).services, (state(a) as { services: unknown }).services)
          }
          await d.close()
        }
      ),
      { numRuns: 240, endOnFailure: true }
    )
    assert.ok(outcomes.refused > 20 && outcomes.contradicted > 3, JSON.stringify(outcomes))
  })
})

/** Puts something else somewhere. */
function mangle(head: PlainHead, where: number, which: number, value: unknown): void {
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

/** Puts something else somewhere into what is told. */
function mangleTold({ told }: PlainHead, where: number, which: number, value: unknown): void {
  assert.ok(told != null)
  const { rows, left } = told as { rows: unknown[]; left: unknown[] }
  const row = rows[where % rows.length]
  if (which % 11 === 0) Object.assign(told, where % 2 === 0 ? { rows: value } : { left: value })
  else if (which % 7 === 0) left.push(value)
  else if (!Array.isArray(row) || which % 5 === 0) rows[where % rows.length] = value
  else {
    const [, by] = row as [unknown, unknown[]]
    if (which % 2 === 0) row[which % 4] = value
    else by[which % by.length] = value
  }
}
