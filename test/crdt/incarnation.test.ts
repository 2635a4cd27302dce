import assert from 'node:assert/strict'
import { cp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { nextIncarnation } from '../../src/crdt/incarnation.ts'
import { Bench, pull, serviceInput, signer, state } from './support.ts'
import { memoryDisk } from './support/memory-disk.ts'

describe('crdt/incarnation', function () {
  this.timeout(60_000)
  const bench = new Bench()
  afterEach(() => bench.clean())

  it('is the time in seconds, and the one after the last where that would be none of its own', async () => {
    const disk = memoryDisk()
    let now = 1_800_000_000_999
    const next = (): Promise<number> => nextIncarnation('/incarnation', disk, { now: () => now })
    assert.equal(await next(), 1_800_000_000)
    assert.equal(await next(), 1_800_000_001, 'twice in one second')
    now = 1_000
    assert.equal(await next(), 1_800_000_002, 'a clock that was set back')
    now = 2 ** 32 * 1000
    assert.equal(await next(), 1_800_000_003, 'a clock beyond what fits')
    now = (2 ** 32 - 1) * 1000
    assert.equal(await next(), 2 ** 32 - 1)
    await assert.rejects(next(), /started too often; join anew/)
  })

  it('is another one after a backup was restored: what is written before anything is heard convicts nobody', async () => {
    const a = await bench.founder(1)
    const b = await bench.joiner(a, 2)
    await pull(a, b)
    await pull(b, a)
    const [dir, backup] = [bench.dirOf(a), join(await bench.dir(), 'backup')]
    await a.close()
    await cp(dir, backup, { recursive: true })
    // It is started and writes, which the backup knows nothing of.
    const since = await bench.open(dir, signer(1))
    await since.createService(serviceInput(since, b, { name: 'since' }))
    await pull(b, since)
    await since.close()
    await rm(join(dir, 'cluster'), { recursive: true })
    await cp(backup, dir, { recursive: true })
    // No host is restored in less. The start since was the second one of its second, so its number was a second ahead.
    await setTimeout(2_100)
    const restored = await bench.open(dir, signer(1))
    await restored.createService(serviceInput(restored, b, { name: 'restored' }))
    await pull(b, restored)
    await pull(restored, b)
    assert.deepEqual(state(restored), state(b))
    assert.deepEqual([...b.view().services.values()].map(({ name }) => name).sort(), ['restored', 'since'])
    assert.ok(b.isMember(restored.self) && b.view().rejected.length === 0)
  })
})
