import assert from 'node:assert/strict'
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
})
