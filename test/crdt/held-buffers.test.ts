import assert from 'node:assert/strict'
import { setTimeout } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { systemDisk, type Disk } from '../../src/crdt/disk.ts'
import type { Replica } from '../../src/crdt/replica.ts'
import { invite, peerRecord, serviceInput } from './support.ts'
import { Joins } from './support/joins.ts'

describe('what a replica was read from', function () {
  this.timeout(60_000)
  const bench = new Joins()
  afterEach(() => bench.clean())

  /** Memory that nobody may hold on to. */
  const read: Array<WeakRef<ArrayBufferLike>> = []
  /** As files and messages come in: one piece for all that is in it. */
  const came = (bytes: Uint8Array): Buffer => {
    const buffer = Buffer.allocUnsafeSlow(bytes.length)
    buffer.set(bytes)
    read.push(new WeakRef(buffer.buffer))
    return buffer
  }
  const disk: Disk = {
    ...systemDisk,
    async read(path) {
      const bytes = await systemDisk.read(path)
      return bytes == null ? null : came(bytes)
    }
  }

  async function assertFreed(): Promise<void> {
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc') as () => void
    const held = (): number => read.filter((one) => one.deref() != null).length
    for (let i = 0; i < 100 && held() > 0; i++) {
      await setTimeout(10)
      collect()
    }
    assert.ok(read.length > 0)
    assert.equal(held(), 0, `${held()} of ${read.length} are still in memory`)
    read.length = 0
  }

  async function lived(): Promise<Replica> {
    const a = await bench.peer(1)
    await a.init({ name: 'home', record: peerRecord(a.self, 'alpha') })
    const b = await bench.joiner(a, 2)
    for (let i = 0; i < 40; i++) await a.createService(serviceInput(a, b, { name: `s${i}` }))
    return a
  }

  it('is not kept by a start behind a snapshot', async () => {
    const a = await lived()
    const dir = bench.dirOf(a)
    await a.close()
    const again = await bench.peer(1, dir, disk)
    assert.ok(again.view().services.size === 40)
    await assertFreed()
  })

  it('is not kept by who has joined by one, nor when that starts again', async () => {
    const a = await lived()
    const d = await bench.peer(4, undefined, disk)
    const dir = bench.dirOf(d)
    const join = async (): Promise<void> => {
      const token = invite(a)
      await a.admit({ token, peer: d.self, name: 'four' })
      await a.signEpoch()
      const handed = await a.bootstrapSnapshot()
      assert.ok(handed != null)
      const { genesis, auth, snapshot } = handed
      const given = { genesis: came(genesis), auth: auth.map(came), snapshot: came(snapshot), token }
      assert.equal(await d.adoptSnapshot(given), null)
    }
    await join()
    await assertFreed()
    assert.ok(d.behind() != null)
    await d.close()
    const again = await bench.peer(4, dir, disk)
    assert.ok(again.behind() != null)
    await assertFreed()
  })
})
