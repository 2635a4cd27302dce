import assert from 'node:assert/strict'
import { UnavailableError } from '../../src/errors.ts'
import type { Logger } from '../../src/log.ts'
import { reported, type Scratch } from '../../src/crdt/scratch.ts'
import { MemoryScratch } from './support/memory-scratch.ts'

describe('room on the disk for what memory need not hold', () => {
  function watched(open: () => Scratch | null): { open: () => Scratch | null; said: string[]; failed: unknown[] } {
    const said: string[] = []
    const failed: unknown[] = []
    const log = {
      warn: ({ error }: { error: UnavailableError }, message: string) => said.push(`${message}: ${error.message}`),
      info: (_: unknown, message: string) => said.push(message)
    } as unknown as Logger
    const fail = (error: unknown): void => void failed.push(error)
    return { open: reported(open, { directory: '/state/cluster', log, fail }), said, failed }
  }

  it('says once that it is full, and once that it is not any more, whichever of its files it is', () => {
    let isFull = true
    const { open, said, failed } = watched(() => new MemoryScratch(() => isFull))
    const [one, other] = [open(), open()]
    for (const scratch of [one, other, one])
      assert.throws(() => scratch?.write(new Uint8Array(4), 0), { code: 'ENOSPC' })
    assert.deepEqual(said, [
      'what of the history should be in a file stays in memory: /state/cluster cannot be used: the disk is full; free some space, writes work again at once'
    ])
    isFull = false
    for (const scratch of [other, one]) scratch?.write(new Uint8Array(4), 0)
    assert.deepEqual(said.slice(1), ['the history goes to its file again'])
    assert.deepEqual(failed, [])
  })

  it('says when there is no file to be had, and is asked again', () => {
    let isLeft = false
    const { open, said } = watched(() => {
      if (!isLeft) throw Object.assign(new Error('too many'), { code: 'EMFILE' })
      return new MemoryScratch()
    })
    assert.throws(open, { code: 'EMFILE' })
    assert.match(said[0] ?? '', /too many files are open; raise RLIMIT_NOFILE/)
    isLeft = true
    assert.notEqual(open(), null)
  })

  it('calls for the end when something does not come back', () => {
    const { open, failed } = watched(() => new MemoryScratch())
    open()?.lost?.(Object.assign(new Error('bad'), { code: 'EIO' }))
    assert.ok(failed[0] instanceof UnavailableError)
    assert.match(failed[0].message, /input\/output error/)
  })

  it('is none where the disk has none', () => {
    assert.equal(watched(() => null).open(), null)
  })
})
