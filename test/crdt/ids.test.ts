import * as fc from 'fast-check'
import assert from 'node:assert/strict'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import { generateKeyPairFromSeed } from '@libp2p/crypto/keys'
import { decodeTime } from 'ulid'
import { systemClock } from '../../src/clock.ts'
import { deviceNameOf, isUlid, newId, newServiceId, packUlid, unpackUlid } from '../../src/crdt/ids.ts'
import { peerIdOf, publicKeyOf, signerFromSeed, verify } from '../../src/crdt/signer.ts'
import { UnavailableError } from '../../src/errors.ts'
import { systemRandom } from '../../src/random.ts'
import { Bench, serviceInput } from './support.ts'

describe('crdt/ids', function () {
  this.timeout(60_000)
  const bench = new Bench()
  afterEach(() => bench.clean())

  it('are ULIDs of their time', () => {
    const id = newId({ ...systemClock, now: () => 1_700_000_000_123 }, systemRandom)
    assert.ok(isUlid(id))
    assert.equal(decodeTime(id), 1_700_000_000_123)
    assert.equal(isUlid(id.toLowerCase()), false)
  })

  it('are 128 bits, and nothing else is', () => {
    const met = { ulids: 0, others: 0 }
    const character = fc.constantFrom(...'0123456789ABCDEFGHJKMNPQRSTVWXYZ')
    const odd = fc.constantFrom(...'ILOUaz-/:@[é', '\ud800')
    const text = fc
      .tuple(fc.array(character, { minLength: 24, maxLength: 27 }), fc.nat({ max: 26 }), fc.option(odd, { nil: '' }))
      .map(([all, at, one]) => all.toSpliced(at, one === '' ? 0 : 1, one).join(''))
    fc.assert(
      fc.property(fc.oneof(text, fc.constantFrom('', '7'.padEnd(26, 'Z'), '8'.padEnd(26, '0'))), (id) => {
        const words = new Uint32Array(5)
        assert.equal(packUlid(id, words, 1), isUlid(id))
        met[isUlid(id) ? 'ulids' : 'others']++
        if (!isUlid(id)) return
        const [, ...four] = words
        assert.equal(unpackUlid(...(four as [number, number, number, number])), id)
      }),
      { seed: 26, numRuns: 2_000 }
    )
    assert.ok(met.ulids > 100 && met.others > 500, JSON.stringify(met))
  })

  it('name devices that differ, within one millisecond and whatever chance does', () => {
    const stopped = { ...systemClock, now: () => 1_700_000_000_000 }
    const taken = new Set<string>()
    // A generator with three bits of chance where the fifteen characters end.
    const poor = {
      ...systemRandom,
      bytes: (n: number) => systemRandom.bytes(n).map((byte, i) => (i === 4 ? byte & 7 : 0))
    }
    for (let i = 0; i < 8; i++) {
      const id = newServiceId(stopped, poor, (prefix) => taken.has(prefix))
      assert.equal(deviceNameOf(id).length, 15)
      assert.equal(taken.has(id.slice(0, 15)), false)
      taken.add(id.slice(0, 15))
    }
    assert.throws(() => newServiceId(stopped, poor, (prefix) => taken.has(prefix)), UnavailableError)
  })

  it('of services made at once have devices of their own', async () => {
    const a = await bench.founder(1)
    const b = await bench.joiner(a, 2)
    const made = await Promise.all(Array.from({ length: 300 }, () => b.createService(serviceInput(a, b))))
    assert.equal(new Set(made.map(({ id }) => deviceNameOf(id))).size, 300)
  })
})

describe('crdt/signer', function () {
  this.timeout(60_000)

  it('has the peer id that libp2p gives the same key', async () => {
    for (let i = 0; i < 20; i++) {
      const seed = systemRandom.bytes(32)
      const own = signerFromSeed(seed)
      const theirs = await generateKeyPairFromSeed('Ed25519', seed)
      assert.equal(own.peerId, peerIdFromPrivateKey(theirs).toString())
      assert.deepEqual(own.publicKey, theirs.publicKey.raw)
      assert.deepEqual(publicKeyOf(own.peerId), own.publicKey)
      assert.equal(peerIdOf(own.publicKey), own.peerId)
      const signature = own.sign(seed)
      assert.ok(verify(own.publicKey, seed, signature))
      assert.ok(await theirs.publicKey.verify(seed, signature))
      assert.equal(verify(own.publicKey, Buffer.from('other'), signature), false)
    }
  })

  it('knows no other peer ids', () => {
    const { peerId } = signerFromSeed(new Uint8Array(32))
    for (const text of ['', 'edge-a', peerId.slice(1), `${peerId}1`, peerId.replace(/.$/, '0'), 'Qm'.padEnd(46, 'a')]) {
      assert.equal(publicKeyOf(text), null)
    }
    assert.equal(verify(new Uint8Array(31), new Uint8Array(1), new Uint8Array(64)), false)
  })
})
