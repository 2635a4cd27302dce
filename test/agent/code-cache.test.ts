import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Script } from 'node:vm'
import { crc32 } from 'node:zlib'
import { CodeCache } from '../../src/code-cache.ts'

const text = `(() => { function count(x) { ${'x = (x + 5) % 7;'.repeat(500)} return x }; return count })()`
const checksum = crc32(text)

describe('compiled code that is kept', () => {
  let folder: string
  let path: string

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'arctic-code-'))
    path = join(folder, 'agent.code')
  })
  afterEach(() => rmSync(folder, { recursive: true, force: true }))

  it('has the functions that were called since, and V8 takes it', () => {
    const script = new Script(text)
    const count = script.runInThisContext() as (x: number) => number
    const before = script.createCachedData()
    assert.equal(count(3), 4)
    const code = script.createCachedData()
    assert.ok(code.length > before.length + 500)
    CodeCache.write(path, [{ name: 'a.cjs', checksum, code }], true)
    const known = CodeCache.read(path)
    assert.equal(known.isWhole, true)
    const again = new Script(text, { cachedData: known.of('a.cjs', checksum) })
    assert.equal(again.cachedDataRejected, false)
    assert.equal((again.runInThisContext() as typeof count)(3), 4)
  })

  it('is of one text and one name', () => {
    write()
    const known = CodeCache.read(path)
    assert.deepEqual(known.of('b.cjs', checksum), Buffer.from('second'))
    assert.equal(known.of('b.cjs', checksum + 1), undefined)
    assert.equal(known.of('c.cjs', checksum), undefined)
  })

  it('is not there', () => assert.equal(CodeCache.read(path).isWhole, false))

  it('is not used when a byte of it is another one, or some are missing: V8 would believe it', () => {
    write()
    const { size } = statSync(path)
    const good = readFileSync(path)
    for (let at = 0; at < size; at++) {
      const bad = Buffer.from(good)
      bad[at]! ^= 1
      writeFileSync(path, bad)
      assert.equal(CodeCache.read(path).of('a.cjs', checksum), undefined, `byte ${at}`)
      writeFileSync(path, good)
      truncateSync(path, at)
      assert.equal(CodeCache.read(path).of('a.cjs', checksum), undefined, `${at} bytes`)
    }
  })

  it('is written whole or not at all, and nobody else reads it', () => {
    write()
    assert.equal(statSync(path).mode & 0o777, 0o600)
    assert.throws(() => CodeCache.write(join(folder, 'none', 'agent.code'), [], true))
    rmSync(path)
    // A folder in its place cannot be replaced by a file.
    assert.throws(() => CodeCache.write(folder, [], true))
    assert.deepEqual(readdirSync(folder), [])
  })

  const write = (): void =>
    CodeCache.write(
      path,
      [
        { name: 'a.cjs', checksum, code: Buffer.from('first') },
        { name: 'b.cjs', checksum, code: Buffer.from('second') }
      ],
      true
    )
})
