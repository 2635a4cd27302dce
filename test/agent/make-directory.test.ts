import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { makeDirectory } from '../../src/make-directory.ts'

describe('making a directory', () => {
  let dir: string
  beforeEach(() => void (dir = mkdtempSync(join(tmpdir(), 'arctic-dir-'))))
  afterEach(() => rmSync(dir, { recursive: true }))

  it('makes what is missing on the way, and is content with what is there', async () => {
    const path = join(dir, 'a', 'b', 'c')
    await makeDirectory(path, 0o700)
    await makeDirectory(path, 0o700)
    assert.equal(statSync(path).mode & 0o777, 0o700)
  })

  it('ends where none can be: on a file, below one, and in /proc', async () => {
    const file = join(dir, 'file')
    writeFileSync(file, '')
    await assert.rejects(makeDirectory(file, 0o700), { code: 'EEXIST' })
    await assert.rejects(makeDirectory(join(file, 'x'), 0o700), { code: 'ENOTDIR' })
    await assert.rejects(makeDirectory('/proc/arctic/state', 0o700), { code: 'ENOENT' })
  })
})
