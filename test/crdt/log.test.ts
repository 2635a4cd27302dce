import assert from 'node:assert/strict'
import { readFile, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { systemClock } from '../../src/clock.ts'
import { systemDisk, type Disk } from '../../src/crdt/disk.ts'
import { UnavailableError } from '../../src/errors.ts'
import { Log } from '../../src/crdt/log.ts'
import { scanLog, type Scan } from '../../src/crdt/log-scan.ts'
import { Bench } from './support.ts'

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString()
const record = (i: number): Uint8Array => Buffer.from(`record-${i}-${'x'.repeat(i * 3)}`)

type Wound = { how: 'cut' | 'flip' | 'zeros' | 'again'; at: number; length: number; bit: number }

/** What disks do: lose the end, change a bit, lose a block, write a block twice. */
const damageOf = (size: number): fc.Arbitrary<Wound[]> =>
  fc.array(
    fc.record({
      how: fc.constantFrom('cut', 'flip', 'zeros', 'again'),
      at: fc.nat(size - 1),
      length: fc.integer({ min: 1, max: 5_000 }),
      bit: fc.nat(7)
    }),
    { minLength: 1, maxLength: 4 }
  )

function damaged(bytes: Buffer, wounds: Wound[]): Buffer {
  let out = Buffer.from(bytes)
  for (const { how, at, length, bit } of wounds) {
    if (how === 'cut') out = out.subarray(0, at)
    else if (at >= out.length) continue
    else if (how === 'flip') out[at] = (out[at] as number) ^ (1 << bit)
    else if (how === 'zeros') out.fill(0, at, Math.min(out.length, at + length))
    else out = Buffer.concat([out.subarray(0, at), out.subarray(Math.max(0, at - length))])
  }
  return out
}

describe('crdt/log', function () {
  this.timeout(60_000)
  const bench = new Bench()
  afterEach(() => bench.clean())

  /** A log of eight records in six frames: two in the first, then two groups of two and one, then one each. */
  async function written(): Promise<{ path: string; bytes: Buffer; records: string[]; ends: number[] }> {
    const path = join(await bench.dir(), 'log')
    const { log } = await Log.create(path, [record(0), record(1)])
    const ends = [log.length]
    const add = async (...groups: number[][]): Promise<void> => {
      await Promise.all(groups.map((group) => log.append(group.map(record), () => {})))
      ends.push(log.length)
    }
    await add([2], [3])
    await add([4])
    await add([5])
    await add([6, 7])
    await log.close()
    const bytes = await readFile(path)
    return { path, bytes, records: Array.from({ length: 8 }, (_, i) => text(record(i))), ends }
  }

  const recordsOf = (scan: Scan | null): string[] => (scan?.records ?? []).map(({ bytes }) => text(bytes))

  it('groups what is asked for at once, gives each its offset and reads it back', async () => {
    const path = join(await bench.dir(), 'log')
    const { log, offsets } = await Log.create(path, [record(9)])
    const found = new Map<number, number>()
    await Promise.all(
      Array.from({ length: 50 }, (_, i) => log.append([record(i)], ([offset]) => found.set(i, offset as number)))
    )
    for (const [i, offset] of found) assert.equal(text(log.read(offset, record(i).length)), text(record(i)))
    assert.equal(text(log.read(offsets[0] as number, record(9).length)), text(record(9)))
    await log.close()
    assert.equal(recordsOf(await scanLog(path, 'x')).length, 51)
    await assert.rejects(
      log.append([record(1)], () => {}),
      UnavailableError
    )
  })

  it('recovers from a cut at any byte: whole frames stay, the torn tail goes', async () => {
    const { path, bytes, records, ends } = await written()
    const counts = [2, 4, 5, 6, 8]
    for (let length = 16; length < bytes.length; length++) {
      await writeFile(path, bytes.subarray(0, length))
      const scan = await scanLog(path, 'x')
      const frames = ends.filter((end) => end <= length).length
      assert.deepEqual(recordsOf(scan), records.slice(0, frames === 0 ? 0 : counts[frames - 1]), `cut at ${length}`)
      assert.equal(scan?.damage, null)
      assert.equal(scan?.tornBytes, length - (ends[frames - 1] ?? 16))
    }
  })

  it('goes on behind a torn tail', async () => {
    const { path, bytes, records } = await written()
    await writeFile(path, bytes.subarray(0, bytes.length - 3))
    const scan = await scanLog(path, 'x')
    const log = await Log.open(path, scan?.length ?? 0)
    await log.append([record(8)], () => {})
    await log.close()
    assert.deepEqual(recordsOf(await scanLog(path, 'x')), [...records.slice(0, 6), text(record(8))])
  })

  it('never misreads a log with a byte changed: what is lost is named and a copy is kept', async () => {
    const { path, bytes, records, ends } = await written()
    for (let at = 16; at < bytes.length; at++) {
      const broken = Buffer.from(bytes)
      broken[at] = (broken[at] as number) ^ 0x41
      await writeFile(path, broken)
      const scan = await scanLog(path, String(at))
      assert.ok(scan != null)
      const read = recordsOf(scan)
      assert.deepEqual(read, records.slice(0, read.length), `byte ${at}`)
      for (const bytes of scan.salvaged) assert.ok(records.includes(text(bytes)))
      const lastFrame = at >= (ends.at(-2) as number)
      if (!lastFrame) assert.ok(scan.damage != null, `byte ${at} is damaged in silence`)
      if (!lastFrame) assert.ok(read.length + scan.salvaged.length >= records.length - 2)
      assert.ok(scan.damage != null || scan.tornBytes > 0, `byte ${at} is cut in silence`)
      if (scan.damage != null) assert.deepEqual(await readFile(scan.damage.keptAs), broken)
    }
  })

  it('a larger log, damaged anywhere in any way: every record that is read was written, in its place', async () => {
    const path = join(await bench.dir(), 'log')
    const all = Array.from({ length: 600 }, (_, i) => Buffer.from(`record-${i}-${'y'.repeat((i * 37) % 211)}`))
    const { log } = await Log.create(path, all.slice(0, 5))
    for (let i = 5; i < all.length; i += 7) await log.append(all.slice(i, i + 7), () => {})
    await log.close()
    const bytes = await readFile(path)
    const known = new Set(all.map(text))
    await fc.assert(
      fc.asyncProperty(damageOf(bytes.length), async (damage) => {
        const broken = damaged(bytes, damage)
        await writeFile(path, broken)
        const scan = await scanLog(path, 'x').catch((error: unknown) => {
          assert.ok(error instanceof UnavailableError, String(error))
          return null
        })
        if (scan == null) return
        const read = recordsOf(scan)
        assert.deepEqual(read, all.slice(0, read.length).map(text))
        for (const salvaged of scan.salvaged) assert.ok(known.has(text(salvaged)))
        if (read.length < all.length)
          assert.ok(scan.damage != null || scan.tornBytes > 0 || broken.length < bytes.length)
      }),
      { numRuns: 200 }
    )
  })

  it('refuses a damaged header, another file and a newer format, and leaves them alone', async () => {
    const { path, bytes } = await written()
    for (let at = 0; at < 16; at++) {
      const broken = Buffer.from(bytes)
      broken[at] = (broken[at] as number) ^ 1
      await writeFile(path, broken)
      await assert.rejects(scanLog(path, 'x'), UnavailableError)
      assert.deepEqual(await readFile(path), broken)
    }
    const newer = Buffer.from(bytes)
    newer.writeUInt32BE(2, 8)
    await writeFile(path, newer)
    await assert.rejects(scanLog(path, 'x'), /written in format 2, this agent knows format 1/)
    assert.deepEqual(await readdir(join(path, '..')), ['log'])
  })

  it('takes back what a failed disk did not take, then goes on', async () => {
    // /dev/full is a disk that is always full: the real errno, without filling one.
    const path = join(await bench.dir(), 'log')
    const { log } = await Log.create(path, [record(0)])
    await log.close()
    const full = await Log.open('/dev/full', 0)
    const failures: unknown[] = []
    full.onFailure = (error) => failures.push(error)
    const results = await Promise.allSettled([1, 2, 3].map((i) => full.append([record(i)], () => assert.fail())))
    assert.equal(failures.length, 1)
    for (const result of results) {
      assert.equal(result.status, 'rejected')
      assert.match(String(result.reason), /UnavailableError: \/dev\/full cannot be used: the disk is full/)
    }
    await assert.rejects(full.probe(), /the disk is full/)
    await full.close()
  })

  it('lets a slow look at the disk finish before anything is written', async () => {
    const path = join(await bench.dir(), 'log')
    // Zeros are what a probe writes; on this disk they take their time.
    const slow: Disk = {
      ...systemDisk,
      async open(name) {
        const file = await systemDisk.open(name)
        return {
          ...file,
          async write(bytes, position) {
            if (bytes.every((byte) => byte === 0)) await systemClock.sleep(30)
            await file.write(bytes, position)
          }
        }
      }
    }
    const { log } = await Log.create(path, [record(0)], slow)
    const probes = [log.probe(), log.probe()]
    await Promise.all([1, 2, 3].map((i) => log.append([record(i)], () => {})))
    await Promise.all([...probes, log.probe(), log.append([record(4)], () => {})])
    await log.append([record(5)], () => {})
    await log.close()
    const scan = await scanLog(path, 'x')
    assert.deepEqual(
      recordsOf(scan),
      Array.from({ length: 6 }, (_, i) => text(record(i)))
    )
    assert.equal(scan?.damage, null)
  })
})
