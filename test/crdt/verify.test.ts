import assert from 'node:assert/strict'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import * as fc from 'fast-check'
import type { Replica } from '../../src/crdt/replica.ts'
import { Bench, peerRecord, pull, serviceInput, signer } from './support.ts'

describe('crdt/verify', function () {
  this.timeout(60_000)
  const bench = new Bench()
  let dir: string
  let a: Replica
  let b: Replica

  beforeEach(async () => {
    dir = await bench.dir()
    a = await bench.open(dir, signer(1))
    await a.init({ name: 'test', record: peerRecord(a.self, 'peer-1') })
    b = await bench.joiner(a, 2)
    await pull(a, b)
    const { id } = await a.createService(serviceInput(a, b))
    await a.addRoutes(id, [{ dest_cidr: '10.2.0.0/24' }])
  })
  afterEach(() => bench.clean())

  it('counts what is held, and finds no flaw where there is none, on each peer', async () => {
    await pull(b, a)
    // Does not count, and is no flaw: the author had not heard of its revocation.
    await a.revoke(b.self)
    await b.deleteService([...b.view().services.keys()][0]!)
    await pull(a, b)
    const verification = await a.verify()
    assert.partialDeepStrictEqual(verification, {
      flaw: null,
      changes: 5,
      authEntries: 2,
      verified: 7,
      invalid: 1,
      authors: 2
    })
    assert.equal(verification.founder, a.self)
    const joined = await b.verify()
    assert.deepEqual([joined.flaw, joined.verified], [null, 6])
    const count = [...a.missing({}, Infinity)].flat()
    assert.equal(verification.verified, count.length)
    assert.equal(
      verification.bytes,
      count.reduce((sum, { length }) => sum + length, 0)
    )
  })

  it('finds any bit that has turned on the disk behind the back of the agent, and says where', async () => {
    const log = join(
      dir,
      'cluster',
      (await readdir(join(dir, 'cluster'))).find((name) => /log/.test(name))!
    )
    const whole = await readFile(log)
    const envelopes = [...a.missing({}, Infinity)].flat().map((bytes) => Buffer.from(bytes))
    await fc.assert(
      fc.asyncProperty(fc.nat(envelopes.length - 1), fc.nat(10_000), fc.nat(7), async (which, at, bit) => {
        const envelope = envelopes[which]!
        const offset = whole.indexOf(envelope)
        assert.ok(offset > 0)
        const damaged = Buffer.from(whole)
        damaged[offset + (at % envelope.length)]! ^= 1 << bit
        await writeFile(log, damaged)
        try {
          const { flaw, verified } = await a.verify()
          assert.deepEqual([flaw?.position, verified], [which + 1, which])
          assert.notEqual(flaw?.message, '')
        } finally {
          await writeFile(log, whole)
        }
      }),
      { numRuns: 60 }
    )
    assert.equal((await a.verify()).flaw, null)
  })

  it('tells an envelope that stands in the place of another, although both are good', async () => {
    const log = join(
      dir,
      'cluster',
      (await readdir(join(dir, 'cluster'))).find((name) => /log/.test(name))!
    )
    const { id } = [...a.view().services.values()][0]!
    await a.updateService(id, { bandwidth_limit_mbps: 1 })
    // Within one millisecond the second one would not say again when, and be shorter.
    await sleep(5)
    await a.updateService(id, { bandwidth_limit_mbps: 2 })
    const envelopes = [...a.missing({}, Infinity)].flat().map((bytes) => Buffer.from(bytes))
    const [first, second] = envelopes.slice(-2)
    assert.equal(first!.length, second!.length)
    const whole = await readFile(log)
    const offset = whole.indexOf(first!)
    await writeFile(log, Buffer.concat([whole.subarray(0, offset), second!, whole.subarray(offset + first!.length)]))
    const { flaw } = await a.verify()
    assert.deepEqual(
      [flaw?.position, flaw?.message],
      [envelopes.length - 1, 'the disk holds another envelope in its place']
    )
  })
})
