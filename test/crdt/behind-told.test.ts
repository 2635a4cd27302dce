import assert from 'node:assert/strict'
import type { Replica } from '../../src/crdt/replica.ts'
import type { ToldHead, ToldRow } from '../../src/crdt/told-saved.ts'
import { invite, peerRecord, pull, serviceInput, state } from './support.ts'
import { closed, fill, Joins, signedAnew, whole } from './support/joins.ts'
import { plainSnapshot, type PlainHead, type PlainSnapshot } from './support/plain-snapshot.ts'

describe('who has set what, as a snapshot that was taken over tells it', function () {
  this.timeout(120_000)
  const bench = new Joins()
  afterEach(() => bench.clean())

  type Lie = (
    rows: ToldRow[],
    at: { written: number; beside: number; gone: number },
    more: {
      left: string[]
      nameOf: (row: number) => [string, string]
      shownAt: (row: number) => Record<string, unknown>
      /** The number of the operation that has made it, and the place of its actor. */
      makerOf: (row: number) => [number, number]
    }
  ) => void
  /** Lies about the rows of what is told, and tells nothing else that is not so. */
  const toldAs =
    (lie: Lie) =>
    ({ head }: PlainSnapshot): void => {
      const { told, objects } = head
      assert.ok(told != null)
      const made = objects.filter(([, isMap, kind, , field]) => isMap === 1 && kind != null && field === null)
      const at = {
        written: made.findIndex(([, , kind], i) => kind === 'services' && isRecordRow(told.rows[i], 2)),
        beside: told.rows.findIndex((row) => isRecordRow(row, 3)),
        gone: told.rows.indexOf(0)
      }
      assert.ok(at.written >= 0 && at.beside >= 0 && at.gone >= 0, JSON.stringify(at))
      const nameOf = (row: number): [string, string] => made[row]?.slice(2, 4) as [string, string]
      const shownAt = (row: number): Record<string, unknown> => {
        const shown = head.records.find(([kind, id]) => nameOf(row).join() === `${kind},${id}`)
        return shown?.[2] as Record<string, unknown>
      }
      const makerOf = (row: number): [number, number] => {
        const [number, actor = ''] = (made[row]?.[0] ?? '').split('@')
        return [Number(number), head.actors.indexOf(actor)]
      }
      lie(told.rows, at, { left: told.left, nameOf, shownAt, makerOf })
    }
  const isRecordRow = (row: ToldRow | undefined, length: number): boolean => Array.isArray(row) && row.length === length
  const rowAt = (rows: ToldRow[], at: number): Extract<ToldRow, unknown[]> => {
    const row = rows[at]
    assert.ok(Array.isArray(row))
    return row
  }

  for (const [what, lie] of [
    [
      'the value of a field',
      (rows, { beside }, { shownAt }) => {
        // What is shown is told by where it is, with its id or without.
        const { id, ...fields } = shownAt(beside)
        const all = rowAt(rows, beside)[0] === 1 ? fields : { ...fields, id }
        rowAt(rows, beside)[0] = { ...all, name: 'not what was written' } as Record<string, string>
      }
    ],
    [
      'which operation has set a field, naming another one of the same change',
      (rows, { written }) => {
        const [, by] = rowAt(rows, written)
        const at = by.findIndex((one, i) => typeof one === 'number' && typeof by[i + 1] === 'number')
        ;[by[at], by[at + 1]] = [(by[at] as number) + 1, (by[at + 1] as number) - 1]
      }
    ],
    ['that nothing was set beside a field', (rows, { beside }) => void rowAt(rows, beside).pop()],
    [
      'what was set beside a field',
      (rows, { beside }) => {
        const [first] = rowAt(rows, beside)[2] ?? []
        const [setting] = first?.[1] ?? []
        assert.ok(setting != null)
        setting[2] = 'something else'
      }
    ],
    [
      'that something was set beside a field',
      (rows, { written }, { makerOf }) => {
        // By another operation of the change that has made it.
        const [number, actor] = makerOf(written)
        assert.equal(rowAt(rows, written).length, 2)
        rowAt(rows, written).push([['name', [[number + 1, actor, 'never']]]])
      }
    ],
    ['that there is what is gone', (rows, { gone }) => void (rows[gone] = [{}, []])],
    ['nothing of what is gone', (rows, { gone }) => void (rows[gone] = 1)],
    ['that Automerge alone can tell of what was never written', (_, __, { left }) => void left.push('services', 'none')]
  ] as Array<[string, Lie]>) {
    it(`one that lies about who has set what is thrown away, and its signer named: ${what}`, async () => {
      const { a, d, liar, refused } = await bench.hostile(toldAs(lie))
      assert.equal(refused, null)
      const [first = '', second = '', third = ''] = a.view().services.keys()
      await d.updateService(first, { name: 'by d' })
      await d.putPeer(peerRecord(d.self, 'delta'))
      await a.updateService(first, { bandwidth_limit_mbps: 7 })
      await a.updateService(second, { name: 'by a' })
      const e = await bench.peer(4, bench.dirOf(await closed(d)))
      await pull(e, a)
      await e.updateService(third, { name: 'by d after a start' })
      await fill(e, a)
      await whole(e)
      assert.deepEqual([e.contradiction()?.author, e.contradiction()?.epoch != null], [liar, true])
      assert.match(e.contradiction()?.message ?? '', /of who has set what in the record .* it says something else/)
      for (let round = 0; round < 3; round++) {
        await pull(e, a)
        await pull(a, e)
      }
      assert.deepEqual(state(e), state(a))
      const { name, bandwidth_limit_mbps: limit } = a.view().services.get(first) ?? {}
      assert.deepEqual([name, limit], ['by d', 7])
      assert.equal(a.view().services.get(third)?.name, 'by d after a start')
      assert.equal(a.view().members.get(e.self)?.record?.name, 'delta')
      assert.equal((await e.verify()).flaw, null)
    })
  }

  for (const [what, lie] of [
    ['an operation that there is not', (rows, { written }) => void (rowAt(rows, written)[1][0] = 1e6)],
    ['an operation of another author', (rows, { beside }) => void (rowAt(rows, beside)[1][0] = [4_000, 0])],
    ['one of a change that writes something else', (rows, { written }) => void (rowAt(rows, written)[1][0] = 30)],
    ['that what is shown is gone', (rows, { written }) => void (rows[written] = 0)],
    ['nothing of what is shown', (rows, { written }) => void (rows[written] = 1)],
    ['what is no row', (rows, { written }) => void (rows[written] = [7 as never, []])]
  ] as Array<[string, Lie]>) {
    it(`one that tells what cannot be is refused, and the whole history taken: ${what}`, async () => {
      const { a, d, refused } = await bench.hostile(toldAs(lie))
      assert.match(refused ?? 'believed', /what it says of who has set what|names an operation that does not exist/)
      await pull(d, a)
      assert.deepEqual(state(d), state(a))
    })
  }

  it('one that leaves to Automerge what others tell is none that lies', async () => {
    const leave = toldAs((rows, { written, beside, gone }, { left, nameOf }) => {
      for (const at of new Set([written, beside, gone])) {
        rows[at] = 1
        left.push(...nameOf(at))
      }
    })
    const { a, d, refused } = await bench.hostile(leave)
    assert.equal(refused, null)
    const [first = ''] = a.view().services.keys()
    await d.updateService(first, { name: 'by d' })
    await pull(a, d)
    assert.deepEqual(state(d), state(a))
    await verified(d, a)
  })

  it('one that tells nothing of who has set what, as those of older versions, is taken as it is', async () => {
    const { a, d, refused } = await bench.hostile(({ head }) => void delete head.told)
    assert.equal(refused, null)
    const [first = '', second = ''] = a.view().services.keys()
    await d.updateService(first, { name: 'by d' })
    await a.updateService(first, { name: 'by a' })
    await a.updateService(second, { name: 'by a' })
    await pull(d, a)
    await pull(a, d)
    assert.deepEqual(state(d), state(a))
    await verified(d, a)
  })

  describe('where a record has stood under its id more than once', () => {
    /** Two who write the same service, before they hear of each other: `alone`, then each takes the other's. */
    async function apart(
      alone: (parts: { a: Replica; b: Replica; id: string; undo: (of: Replica) => Promise<void> }) => Promise<void>
    ): Promise<{ a: Replica; b: Replica; id: string }> {
      const a = await bench.peer(1)
      await a.init({ name: 'home', record: peerRecord(a.self, 'alpha') })
      const b = await bench.joiner(a, 2)
      await pull(a, b)
      const { id } = await a.createService(serviceInput(a, b, { name: 'web' }))
      await pull(b, a)
      /** The last removal that it has heard of. */
      const undo = async (of: Replica): Promise<void> => {
        const removal = (await of.history({ object: id })).find(({ objects: [one] }) => one?.action === 'deleted')
        await of.undo(removal?.id ?? '')
      }
      await alone({ a, b, id, undo })
      const [ofA, ofB] = [[...a.missing(b.vector(), 1e6)].flat(), [...b.missing(a.vector(), 1e6)].flat()]
      await a.receive(ofB, b.self)
      await b.receive(ofA, a.self)
      assert.deepEqual(state(a), state(b))
      return { a, b, id }
    }

    /** Joins by a snapshot of one of them, and verifies what the other one has. */
    async function joinedBy(
      by: Replica,
      from: Replica,
      lie?: (told: ToldHead, head: PlainHead) => void
    ): Promise<{ d: Replica; told: ToldHead }> {
      const token = invite(by)
      const d = await bench.peer(4)
      await by.admit({ token, peer: d.self, name: 'four' })
      await by.signEpoch()
      const handed = (await by.bootstrapSnapshot()) ?? assert.fail('there is no snapshot')
      const snapshot = plainSnapshot(handed.snapshot)
      const told = snapshot.head.told ?? assert.fail('it tells nothing')
      lie?.(told, snapshot.head)
      const file = lie == null ? handed.snapshot : await signedAnew(by, 2, snapshot)
      assert.equal(await d.adoptSnapshot({ ...handed, auth: by.authLog(), snapshot: file, token }), null)
      for (const replica of [d, from]) await pull(replica, by)
      const shown = state(d)
      assert.deepEqual(shown, state(by))
      await fill(d, from)
      await whole(d)
      assert.deepEqual(state(d), shown)
      return { d, told }
    }

    // a has heard that it was removed and made anew before b's change of the first one; b the other way round.
    const changed = (): ReturnType<typeof apart> =>
      apart(async ({ a, b, id, undo }) => {
        await b.updateService(id, { name: 'by b' })
        await a.deleteService(id)
        await undo(a)
      })
    // Each has made and removed one of its own; what is gone is another one to each.
    const gone = (): ReturnType<typeof apart> =>
      apart(async ({ a, b, id, undo }) => {
        await a.deleteService(id)
        await pull(b, a)
        for (const one of [a, b]) {
          await undo(one)
          await one.deleteService(id)
        }
      })

    it('no truthful signer is taken for a liar: what it tells the verified history leaves to Automerge', async () => {
      const { a, b, id } = await changed()
      const { d, told } = await joinedBy(b, a)
      assert.deepEqual(told.left, [])
      assert.equal(d.contradiction(), null)
      assert.equal(d.view().services.get(id)?.name, 'web')
    })

    it('no truthful signer is taken for a liar: what it leaves to Automerge the verified history tells', async () => {
      const { a, b, id } = await changed()
      const { d, told } = await joinedBy(a, b)
      assert.deepEqual(told.left, ['services', id])
      assert.equal(d.contradiction(), null)
    })

    it('no truthful signer is taken for a liar: of several that are gone each names the last one that it has heard of', async () => {
      const { a, b } = await gone()
      const [byA, byB] = [(await joinedBy(a, b)).d.contradiction(), (await joinedBy(b, a)).d.contradiction()]
      assert.deepEqual([byA, byB], [null, null])
    })

    for (const [what, lie] of [
      ['the value of a field', ({ fields }) => void (fields['name'] = 'not so')],
      ['that there is a field', ({ fields, by }) => void ((fields['zzz'] = 1), by.push(0))],
      [
        'who has set a field',
        ({ by }) => {
          by[0] = (by[0] as number) + 1
          by[1] = (by[1] as number) - 1
        }
      ],
      [
        'what was set beside it',
        ({ row, maker: [number, actor] }) => void (row[2] = [['name', [[number + 1, actor, 'never']]]])
      ]
    ] as Array<[string, (parts: ToldOfOne) => void]>) {
      it(`a lie about what the verified history leaves to Automerge is found all the same: ${what}`, async () => {
        const { a, b, id } = await changed()
        const { d } = await joinedBy(b, a, ({ rows }, { objects, records, actors }) => {
          const made = objects.filter(([, isMap, kind, , field]) => isMap === 1 && kind != null && field === null)
          const at = rows.findIndex((one, i) => Array.isArray(one) && made[i]?.[3] === id)
          const row = rows[at] as unknown[]
          const shown = records.find(([, one]) => one === id)
          const { id: named, ...rest } = (shown?.[2] ?? {}) as Record<string, unknown>
          const fields = row[0] === 1 ? rest : { id: named, ...rest }
          const by = row[1] as unknown[]
          const [number, actor = ''] = (made[at]?.[0] ?? '').split('@')
          lie({ row, fields, by, maker: [Number(number), actors.indexOf(actor)] })
          row[0] = fields
        })
        assert.match(
          d.contradiction()?.message ?? '',
          new RegExp(`in the record ${id} of services it says something else`)
        )
      })
    }
  })
})

/** What a snapshot tells of one record, with its fields said once more, and the operation that has made it. */
interface ToldOfOne {
  row: unknown[]
  fields: Record<string, unknown>
  by: unknown[]
  maker: [number: number, actor: number]
}

/** All that is behind what `d` took over comes from `a`, contradicts nothing, and both show the same. */
async function verified(d: Replica, a: Replica): Promise<void> {
  await fill(d, a)
  await whole(d)
  assert.equal(d.contradiction(), null)
  assert.deepEqual(state(d), state(a))
}
