import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Replica } from '../../src/crdt/replica.ts'
import { decodeSnapshot, encodeSnapshot, type Snapshot } from '../../src/crdt/snapshot.ts'
import { Bench, pull, serviceInput, signer, state } from './support.ts'

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

  async function started(dir: string, envelopes: string[]): Promise<{ isLoaded: boolean; state: unknown }> {
    const program = fileURLToPath(new URL('support/start.ts', import.meta.url))
    const flags = ['-C', 'development', '--disable-warning=ExperimentalWarning']
    const { stdout } = await promisify(execFile)(process.execPath, [...flags, program, dir, ...envelopes])
    return JSON.parse(stdout) as { isLoaded: boolean; state: unknown }
  }

  async function spoilt(path: string, spoil: (snapshot: Snapshot) => void): Promise<void> {
    const snapshot = decodeSnapshot(await readFile(path))
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
