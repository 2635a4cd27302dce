import assert from 'node:assert/strict'
import { readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { openIdentity } from '../../src/mesh/identity.ts'
import { KeyRing } from '../../src/mesh/key-ring.ts'
import { systemRandom } from '../../src/random.ts'
import { temporaryDirectory } from './support.ts'

const HOUR = 3_600_000

/** Wall and monotonic time that a test moves apart. */
class Times {
  wall = Date.UTC(2026, 0, 1)
  steady = 0
  now = (): number => this.wall
  monotonic = (): number => this.steady
  pass(ms: number): void {
    this.wall += ms
    this.steady += ms
  }
  after(): never {
    throw new Error('a key ring sets no timers')
  }
  every = this.after
  sleep = this.after
}

describe('key ring', () => {
  let dir: Awaited<ReturnType<typeof temporaryDirectory>>
  let times: Times
  const open = (): Promise<KeyRing> => KeyRing.open(dir.path, { clock: times, random: systemRandom })
  const file = (): Promise<string> => readFile(join(dir.path, 'identity'), 'utf8')

  beforeEach(async () => {
    dir = await temporaryDirectory()
    times = new Times()
    await openIdentity(dir.path, systemRandom)
  })
  afterEach(() => dir[Symbol.asyncDispose]())

  it('begins with the keys of the identity, changes both, keeps those before until they are erased', async () => {
    const { pegasus, tempest, peerId } = await openIdentity(dir.path, systemRandom)
    const ring = await open()
    assert.deepEqual([ring.current, ring.before], [{ pegasus, tempest }, null])
    await ring.rotate()
    assert.deepEqual(ring.before, { pegasus, tempest })
    assert.notEqual(ring.current.pegasus.publicKey, pegasus.publicKey)
    assert.notEqual(ring.current.tempest.privateKey, tempest.privateKey)
    assert.equal((await stat(join(dir.path, 'identity'))).mode & 0o777, 0o600)
    await assert.rejects(ring.rotate(), { status: 409 })
    const again = await open()
    assert.deepEqual([again.current, again.before], [ring.current, ring.before], 'a start finds the change')
    await again.erase()
    assert.equal(again.before, null)
    for (const { privateKey } of [pegasus, tempest]) assert.ok(!(await file()).includes(privateKey))
    const after = await openIdentity(dir.path, systemRandom)
    assert.deepEqual([after.peerId, after.pegasus], [peerId, again.current.pegasus], 'it is the same peer still')
  })

  it('counts the age over restarts, and no clock that jumps makes it change keys for ever or never', async () => {
    const first = await open()
    times.pass(5 * HOUR)
    assert.equal(first.ageMs, 5 * HOUR)
    times.wall += 1000 * 24 * HOUR
    assert.equal(first.ageMs, 5 * HOUR, 'a jump while it runs is none')
    await first.note()
    times.wall -= 2000 * 24 * HOUR
    times.steady = 7
    const back = await open()
    assert.equal(back.ageMs, 5 * HOUR, 'a clock that went backward adds nothing and takes nothing')
    times.pass(HOUR)
    await back.note()
    times.wall += 3 * HOUR
    times.steady = 0
    const later = await open()
    assert.equal(later.ageMs, 9 * HOUR, 'the time that it was away counts')
    times.wall += 1000 * 24 * HOUR
    const jumped = await open()
    assert.ok(jumped.ageMs > 999 * 24 * HOUR, 'a jump while it was away counts once')
    await jumped.rotate()
    assert.ok(jumped.ageMs < HOUR)
    times.wall -= 1000 * 24 * HOUR
    assert.ok((await open()).ageMs < HOUR, 'and not again when the clock is put right')
  })

  it('passes over what a crash left aside, and stays as it was when the disk refuses', async () => {
    const ring = await open()
    const before = ring.current
    await writeFile(join(dir.path, 'identity.next'), '{"version":1,"peer_se', { mode: 0o600 })
    await ring.rotate()
    await ring.erase()
    const now = ring.current
    assert.notDeepEqual(now, before)
    await rm(dir.path, { recursive: true })
    await assert.rejects(ring.rotate(), { code: 'unavailable' })
    assert.deepEqual([ring.current, ring.before], [now, null])
  })
})
