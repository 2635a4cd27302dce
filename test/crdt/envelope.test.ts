import assert from 'node:assert/strict'
import * as fc from 'fast-check'
import { encodeAdmit, FIRST } from '../../src/crdt/authlog.ts'
import { MalformedError } from '../../src/crdt/bytes.ts'
import { Document } from '../../src/crdt/document.ts'
import { genesisChunk } from '../../src/crdt/genesis-change.ts'
import { actorOf, parseEnvelope, sealEnvelope, verifyEnvelope, type Envelope } from '../../src/crdt/envelope.ts'
import { openEnvelope } from '../../src/crdt/ledger.ts'
import { envelopeBytesMax } from '../../src/crdt/limits.ts'
import { signer } from './support.ts'

const CLUSTER = 'C'.repeat(26)
const author = signer(1)

/** A change by `author` with a text of this length in it: long ones are deflated by Automerge. */
function change(text: string): Envelope {
  const document = new Document(genesisChunk(), actorOf('change', author.publicKey, 1))
  const body = document.change((writer) => writer.put('services', 'x', { name: text }))
  assert.ok(body != null)
  return sealEnvelope(author, CLUSTER, { kind: 'change', incarnation: 1, seq: 1, writtenAt: 1_700_000_000_000, body })
}

function admission(): Envelope {
  const admit = {
    previous: FIRST,
    peer: signer(2).peerId,
    role: 'member',
    name: 'b',
    invite: new Uint8Array(9)
  } as const
  const body = encodeAdmit(admit)
  return sealEnvelope(author, CLUSTER, { kind: 'auth', incarnation: 3, seq: 7, writtenAt: 5, body })
}

/** True when bytes pass for an envelope of this cluster. Anything but a MalformedError is a failure of the test. */
function passes(bytes: Uint8Array): boolean {
  try {
    return verifyEnvelope(parseEnvelope(bytes), CLUSTER)
  } catch (error) {
    assert.ok(error instanceof MalformedError, `${String(error)} is no MalformedError`)
    return false
  }
}

describe('crdt/envelope', function () {
  this.timeout(60_000)
  it('reads back what was sealed, of any size', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 2000 }), (text) => {
        const sealed = change(text)
        const read = parseEnvelope(sealed.bytes)
        assert.deepEqual(read, sealed)
        assert.equal(read.authorId, author.peerId)
        assert.equal(read.actor, actorOf('change', author.publicKey, 1))
        assert.ok(verifyEnvelope(read, CLUSTER))
        assert.equal(openEnvelope(read, { own: false }).operations?.list.length, 2)
      }),
      { numRuns: 50 }
    )
  })

  it('is good in its own cluster only', () => {
    assert.equal(verifyEnvelope(change('a'), CLUSTER), true)
    assert.equal(verifyEnvelope(change('a'), 'D'.repeat(26)), false)
  })

  it('carries entries of the auth log under an actor of their own', () => {
    const sealed = admission()
    assert.ok(passes(sealed.bytes))
    assert.equal(sealed.actor, `${actorOf('change', author.publicKey, 3)}01`)
  })

  for (const [what, bytes] of [
    ['a short change', change('a').bytes],
    ['a deflated change', change('ab'.repeat(600)).bytes],
    ['an admission', admission().bytes]
  ] as const) {
    it(`does not verify ${what} with any bit flipped`, () => {
      for (let bit = 0; bit < bytes.length * 8; bit++) {
        const broken = bytes.slice()
        broken[bit >> 3] = (broken[bit >> 3] as number) ^ (1 << (bit & 7))
        assert.equal(passes(broken), false, `bit ${bit}`)
      }
    })

    it(`does not verify ${what} cut at any byte or with something behind it`, () => {
      for (let length = 0; length < bytes.length; length++) assert.equal(passes(bytes.subarray(0, length)), false)
      assert.equal(passes(Buffer.concat([bytes, Uint8Array.of(0)])), false)
    })
  }

  it('does not throw for anything else, whatever it is', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => assert.equal(passes(bytes), false)))
    const { bytes } = change('a')
    const splice = fc.tuple(fc.nat(bytes.length - 1), fc.uint8Array({ minLength: 1, maxLength: 8 }))
    fc.assert(
      fc.property(splice, ([at, noise]) => {
        const broken = Buffer.concat([bytes.subarray(0, at), noise, bytes.subarray(at + noise.length)])
        assert.equal(passes(broken), Buffer.compare(broken, bytes) === 0)
      }),
      { numRuns: 500 }
    )
  })

  it('refuses another author, actor or sequence number around a change', () => {
    const { body } = change('a')
    const parts = { kind: 'change', incarnation: 1, seq: 1, writtenAt: 0, body } as const
    assert.throws(() => sealEnvelope(signer(2), CLUSTER, parts), /another actor/)
    assert.throws(() => sealEnvelope(author, CLUSTER, { ...parts, incarnation: 2 }), /another actor/)
    assert.throws(() => sealEnvelope(author, CLUSTER, { ...parts, seq: 2 }), /another sequence number/)
    assert.throws(() => sealEnvelope(author, CLUSTER, { ...parts, writtenAt: 8.64e15 + 1 }), /time is out of range/)
  })

  it('refuses what is too large before it looks at it', () => {
    assert.throws(() => parseEnvelope(new Uint8Array(envelopeBytesMax + 1)), /more than/)
  })
})
