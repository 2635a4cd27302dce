import * as fc from 'fast-check'
import assert from 'node:assert/strict'
import { mkdtemp, readdir, readlink, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { systemDisk } from '../../src/crdt/disk.ts'
import { PagedRows } from '../../src/crdt/paged-rows.ts'
import type { Scratch } from '../../src/crdt/scratch.ts'
import { MemoryScratch } from './support/memory-scratch.ts'

const ROW_BYTES = 24
const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ push: fc.integer({ min: 1, max: 40 }) }) },
  { weight: 1, arbitrary: fc.record({ cut: fc.double({ min: 0, max: 1, noNaN: true }) }) },
  { weight: 6, arbitrary: fc.record({ set: fc.double({ min: 0, max: 0.999, noNaN: true }), to: fc.nat() }) },
  { weight: 6, arbitrary: fc.record({ look: fc.double({ min: 0, max: 0.999, noNaN: true }) }) }
)

describe('rows in pages', () => {
  it('are those of a list, whatever memory holds of them and whenever the disk is full', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60, size: 'max' }), fc.nat({ max: 6 }), (steps, full) => {
        const scratch = new MemoryScratch((n) => n % 7 < full)
        const rows = new PagedRows(ROW_BYTES, { rowsPerPage: 4, heldMax: 3, open: () => scratch })
        const model: Array<{ u8: number; u32: number; f64: number }> = []
        const write = (row: number, value: number): void => {
          model[row] = { u8: value & 255, u32: value, f64: value / 3 }
          rows.setU8(row, 0, value & 255)
          rows.setU32(row, 4, value)
          rows.setF64(row, 8, value / 3)
          rows.setBytes(row, 16, Buffer.from([value & 255, 1, 2]))
        }
        const check = (row: number): void => {
          const { u8, u32, f64 } = model[row]!
          assert.deepEqual([rows.u8(row, 0), rows.u32(row, 4), rows.f64(row, 8)], [u8, u32, f64])
          assert.equal(rows.hex(row, 16, 3), Buffer.from([u8, 1, 2]).toString('hex'))
          assert.ok(rows.equals(row, 16, Buffer.from([u8, 1, 2])) && !rows.equals(row, 16, Buffer.from([u8, 1, 3])))
        }
        for (const one of steps) {
          if ('push' in one) for (let i = 0; i < one.push; i++) write(rows.push(), model.length * 7)
          else if ('cut' in one) {
            model.splice(Math.ceil(one.cut * model.length))
            rows.cut(model.length)
          } else if (model.length > 0) {
            if ('set' in one) write(Math.floor(one.set * model.length), one.to)
            else check(Math.floor(one.look * model.length))
          }
          assert.equal(rows.length, model.length)
          if (full === 0) assert.ok(rows.pages.held <= 3, `${rows.pages.held} pages are in memory`)
        }
        for (let row = 0; row < model.length; row++) check(row)
      }),
      { seed: 11, numRuns: 300 }
    )
  })

  it('stay in memory while nothing can be written, and leave it when it can', () => {
    let isFull = true
    const scratch = new MemoryScratch(() => isFull)
    const rows = new PagedRows(ROW_BYTES, { rowsPerPage: 4, heldMax: 3, open: () => scratch })
    const fill = (end: number): void => {
      while (rows.length < end) rows.setU32(rows.push(), 0, rows.length)
    }
    fill(100)
    assert.deepEqual(rows.pages, { held: 25, all: 25 })
    isFull = false
    fill(101)
    assert.deepEqual(rows.pages, { held: 3, all: 26 })
    for (let row = 0; row < 101; row++) assert.equal(rows.u32(row, 0), row + 1)
  })

  it('are lost aloud when the disk gives back something else', () => {
    const scratch = new MemoryScratch()
    const rows = new PagedRows(ROW_BYTES, { rowsPerPage: 4, heldMax: 2, open: () => scratch })
    for (let i = 0; i < 40; i++) rows.setU32(rows.push(), 0, i)
    scratch.bytes[5]! ^= 1
    const lost: unknown[] = []
    Object.assign(scratch, { lost: (error: unknown) => lost.push(error) })
    assert.throws(() => rows.u32(0, 0), /other bytes than it was given/)
    assert.throws(() => rows.u32(1, 0), /other bytes than it was given/)
    assert.equal(lost.length, 2)
    assert.equal(rows.u32(4, 0), 4)
  })

  it('are in a file without a name, which is gone with them', async function () {
    this.timeout(30_000)
    const directory = await mkdtemp(join(tmpdir(), 'arctic-scratch-'))
    const open = async (): Promise<string[]> => {
      const found = await readdir('/proc/self/fd')
      const links = await Promise.all(found.map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => '')))
      return links.filter((link) => link.startsWith(directory))
    }
    try {
      const work = (): void => {
        const scratch = systemDisk.scratch?.(directory) as Scratch
        const rows = new PagedRows(ROW_BYTES, { rowsPerPage: 4, heldMax: 2, open: () => scratch })
        for (let i = 0; i < 400; i++) rows.setU32(rows.push(), 0, i)
        for (let i = 0; i < 400; i++) assert.equal(rows.u32(i, 0), i)
        assert.throws(() => scratch.read(new Uint8Array(8), 1_000_000), /ends at 1000000/)
      }
      work()
      assert.deepEqual(await readdir(directory), [])
      assert.deepEqual(await open(), [`${directory}/scratch (deleted)`])
      setFlagsFromString('--expose-gc')
      const collect = runInNewContext('gc') as () => void
      for (let i = 0; i < 100 && (await open()).length > 0; i++) {
        collect()
        await setTimeout(20)
      }
      assert.deepEqual(await open(), [])
    } finally {
      await rm(directory, { recursive: true })
    }
  })
})
