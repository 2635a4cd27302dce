import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Replica } from '../../src/crdt/replica.ts'
import { encodeSnapshot } from '../../src/crdt/snapshot.ts'
import { Bench, invite, pull, serviceInput, signer, state } from './support.ts'
import type { Handed } from './support/join.ts'
import { signedAnew } from './support/joins.ts'
import { plainSnapshot, type PlainSnapshot } from './support/plain-snapshot.ts'

async function outcomeOf<T>(name: string, args: string[]): Promise<T> {
  const program = fileURLToPath(new URL(`support/${name}.ts`, import.meta.url))
  const flags = ['-C', 'development', '--disable-warning=ExperimentalWarning']
  const { stdout } = await promisify(execFile)(process.execPath, [...flags, program, ...args])
  return JSON.parse(stdout) as T
}

describe('a start from a snapshot', function () {
  this.timeout(120_000)
  const bench = new Bench()
  afterEach(() => bench.clean())

  /**
   * Two peers, of which the first has taken a snapshot; then it wrote once more. What the second one has written of what is in that
   * snapshot, and the first one has not heard of.
   */
  async function lived(): Promise<{ dir: string; path: string; b: Replica; unheard: string[] }> {
    const a = await bench.founder(1)
    const b = await bench.joiner(a, 2)
    await pull(a, b)
    const ids: string[] = []
    for (let i = 0; i < 6; i++) {
      const { id } = await a.createService(serviceInput(a, b, { name: `s${i}` }))
      await a.addRoutes(id, [{ dest_cidr: `10.${i}.0.0/16` }])
      ids.push(id)
    }
    const [first = '', second = '', third = '', fourth = ''] = ids
    await a.deleteService(fourth)
    await pull(b, a)
    // Side by side.
    await b.updateService(first, { name: 'by b', bandwidth_limit_mbps: 7 })
    await a.updateService(first, { name: 'by a' })
    await pull(a, b)
    const dir = bench.dirOf(a)
    const path = join(dir, 'cluster', 'snapshot')
    await a.close()
    const again = await bench.open(dir, signer(1), undefined, 1)
    while ((await readFile(path).catch(() => null)) == null) await new Promise((resolve) => setTimeout(resolve, 5))
    await again.close()
    const last = await bench.open(dir, signer(1))
    await last.updateService(second, { name: 'behind it' })
    await b.updateService(first, { name: 'b once more' })
    await b.updateService(second, { name: 'beside it' })
    await b.deleteService(third)
    const [route] = b.view().routesOf.get(ids[4] ?? '') ?? []
    await b.updateRoute(ids[4] ?? '', route?.id ?? '', { priority: 9 })
    const unheard = [...b.missing(last.vector(), 1e6)].flat().map((bytes) => Buffer.from(bytes).toString('base64'))
    await last.close()
    return { dir, path, b, unheard }
  }

  const started = (dir: string, envelopes: string[]): Promise<{ isLoaded: boolean; state: unknown }> =>
    outcomeOf('start', [dir, ...envelopes])

  async function spoilt(path: string, spoil: (snapshot: PlainSnapshot) => void): Promise<void> {
    const snapshot = plainSnapshot(await readFile(path))
    spoil(snapshot)
    await writeFile(path, encodeSnapshot(snapshot))
  }

  /** What the second peer shows once it has all that the first one has. */
  async function shown(dir: string, b: Replica): Promise<unknown> {
    const a = await bench.open(dir, signer(1))
    await pull(b, a)
    await a.close()
    return JSON.parse(JSON.stringify(state(b))) as unknown
  }

  it('needs no Automerge for what is in it and is written again, here and elsewhere', async () => {
    const { dir, b, unheard } = await lived()
    const { isLoaded, state: seen } = await started(dir, unheard)
    assert.deepEqual(seen, await shown(dir, b))
    assert.equal(isLoaded, false)
  })

  it('is what it was where the snapshot says nothing of who has set what, as those of older versions', async () => {
    const { dir, path, b, unheard } = await lived()
    await spoilt(path, ({ head }) => void delete head.told)
    const { isLoaded, state: seen } = await started(dir, unheard)
    assert.deepEqual(seen, await shown(dir, b))
    assert.equal(isLoaded, true)
  })

  it('reads the history where that is not in its form', async () => {
    const { dir, path, b, unheard } = await lived()
    await spoilt(path, ({ head }) => void head.told?.rows.pop())
    const { isLoaded, state: seen } = await started(dir, unheard)
    assert.deepEqual(seen, await shown(dir, b))
    assert.equal(isLoaded, false)
  })
})

describe('a join by a snapshot', function () {
  this.timeout(120_000)
  const bench = new Bench()
  afterEach(() => bench.clean())

  const base64 = (envelopes: Iterable<Uint8Array>): string[] =>
    [...envelopes].map((bytes) => Buffer.from(bytes).toString('base64'))

  for (const [what, isTold] of [
    ["makes none of Automerge's documents", true],
    ['is what it was where the snapshot says nothing of who has set what, as those of older versions', false]
  ] as const) {
    it(`${what}: what others write meanwhile, its own writes, the history behind, its first snapshot`, async () => {
      const a = await bench.founder(1)
      const b = await bench.joiner(a, 2)
      await pull(a, b)
      for (let i = 0; i < 6; i++) {
        const { id } = await a.createService(serviceInput(a, b, { name: `s${i}` }))
        await a.addRoutes(id, [{ dest_cidr: `10.${i}.0.0/16` }])
      }
      const [first = '', second = '', third = '', fourth = '', last = ''] = a.view().services.keys()
      await a.updateService(last, { name: 'before' })
      await pull(b, a)
      const c = await bench.joiner(a, 3)
      await a.updateService(last, { name: 'heard of by a alone' })
      await b.updateService(first, { name: 'by b' })
      await a.updateService(first, { name: 'by a' })
      await a.deleteService(fourth)
      await pull(a, b)
      await pull(b, a)
      const token = invite(a)
      await a.admit({ token, peer: signer(4).peerId, name: 'four' })
      await a.signEpoch()
      const { genesis, auth, snapshot } = (await a.bootstrapSnapshot()) ?? assert.fail('there is no snapshot')
      const older = plainSnapshot(snapshot)
      delete older.head.told
      const file = isTold ? snapshot : await signedAnew(a, 1, older)
      const [before, vector] = [[...a.missing({}, 1e6)].flat(), a.vector()]
      // Side by side, of what is in it: both name what it was before.
      await a.updateService(second, { name: 'by a' })
      await b.updateService(second, { name: 'by b', bandwidth_limit_mbps: 7 })
      await b.updateService(first, { name: 'by b alone' })
      // And one that has not heard what is in it: it names what that has replaced.
      await c.updateService(last, { name: 'by c', bandwidth_limit_mbps: 8 })
      await pull(b, c)
      await b.deleteService(third)
      await pull(a, b)
      const later = [...a.missing(vector, 1e6)].flat()
      const dir = await bench.dir()
      const handed: Handed = {
        genesis: Buffer.from(genesis).toString('base64'),
        auth: base64(isTold ? auth : a.authLog()),
        snapshot: Buffer.from(file).toString('base64'),
        token,
        later: base64(later),
        before: base64(before)
      }
      const path = join(dir, 'handed.json')
      await writeFile(path, JSON.stringify(handed))
      const outcome = await outcomeOf<{ documents: number; isSame: boolean; state: unknown }>('join', [dir, path])
      assert.deepEqual([outcome.documents > 0, outcome.isSame], [!isTold, true])
      const d = await bench.open(dir, signer(4))
      await pull(a, d)
      assert.deepEqual(state(d), state(a))
      assert.deepEqual(outcome.state, JSON.parse(JSON.stringify(state(a))))
      assert.equal((await d.verify()).flaw, null)
    })
  }
})
