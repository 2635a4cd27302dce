import assert from 'node:assert/strict'
import { createPublicKey, type KeyObject } from 'node:crypto'
import { generateKeyPairFromSeed, publicKeyFromRaw } from '@libp2p/crypto/keys'
import { describe, it } from 'mocha'
import { shareSignatures } from '../../sim/host/signatures.ts'
import { signerFromSeed, verify } from '../../src/crdt/signer.ts'

const [one, other] = [1, 2].map((n) => signerFromSeed(new Uint8Array(32).fill(n)))
const flipped = (bytes: Uint8Array, at: number): Uint8Array => bytes.map((byte, i) => (i === at ? byte ^ 1 : byte))

describe('sim: signatures that all hosts of a process check', function () {
  this.timeout(60_000)

  it('are good or bad as they are, however often and in whatever order it is asked, shared or not', () => {
    const data = Buffer.from('what a peer has said')
    const signature = one!.sign(data)
    const cases = [
      [true, one!.publicKey, data, signature],
      [false, other!.publicKey, data, signature],
      ...Array.from(data.keys(), (at) => [false, one!.publicKey, flipped(data, at), signature] as const),
      ...Array.from(signature.keys(), (at) => [false, one!.publicKey, data, flipped(signature, at)] as const),
      [false, one!.publicKey, data.subarray(1), signature],
      [false, one!.publicKey, Buffer.concat([data, data]), signature]
    ] as const
    const askAll = (): void => {
      for (const [good, key, said, signed] of cases) assert.equal(verify(key, said, signed), good)
      for (const [good, key, said, signed] of cases.toReversed()) assert.equal(verify(key, said, signed), good)
    }
    askAll()
    const end = shareSignatures()
    askAll()
    askAll()
    end()
    askAll()
  })

  it('so too of what was signed meanwhile, which is good without being computed, also after its author has used the memory again', () => {
    const end = shareSignatures()
    const data = Buffer.from('what a peer says now')
    const copy = Buffer.from(data)
    const signature = one!.sign(data)
    data.fill(0)
    assert.equal(verify(one!.publicKey, copy, signature), true)
    assert.equal(verify(one!.publicKey, data, signature), false)
    assert.equal(verify(other!.publicKey, copy, signature), false)
    for (const at of signature.keys()) assert.equal(verify(one!.publicKey, copy, flipped(signature, at)), false)
    for (const at of copy.keys()) assert.equal(verify(one!.publicKey, flipped(copy, at), signature), false)
    assert.equal(verify(one!.publicKey, copy, signature), true)
    end()
    assert.equal(verify(one!.publicKey, copy, signature), true)
  })

  it('so too by keys that are read anew for each of them, as libp2p does', async () => {
    const end = shareSignatures()
    const keys = await Promise.all([1, 2].map((n) => generateKeyPairFromSeed('Ed25519', new Uint8Array(32).fill(n))))
    const data = Buffer.from('a key of noise')
    for (let i = 0; i < 3; i++) {
      const signature = await keys[0]!.sign(data)
      const [signer, stranger] = keys.map((key) => publicKeyFromRaw(key.publicKey.raw))
      assert.equal(await signer!.verify(data, signature), true)
      assert.equal(await stranger!.verify(data, signature), false)
      assert.equal(await signer!.verify(flipped(data, i), signature), false)
      assert.equal(await signer!.verify(data, flipped(signature, i)), false)
    }
    const read = (x: string): KeyObject => createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' })
    const names = keys.map((key) => Buffer.from(key.publicKey.raw).toString('base64url'))
    assert.equal(read(names[0]!), read(names[0]!))
    assert.notEqual(read(names[0]!), read(names[1]!))
    end()
    assert.notEqual(read(names[0]!), read(names[0]!))
  })
})
