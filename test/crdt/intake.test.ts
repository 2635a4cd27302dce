import assert from 'node:assert/strict'
import { systemClock } from '../../src/clock.ts'
import { concat } from '../../src/crdt/bytes.ts'
import { parseGenesis } from '../../src/crdt/genesis.ts'
import { Intake } from '../../src/crdt/intake.ts'
import type { Entry } from '../../src/crdt/entries.ts'
import { Ledger } from '../../src/crdt/ledger.ts'
import { verifyAside, type Verifier } from '../../src/crdt/signer.ts'
import { Bench, serviceInput, signer } from './support.ts'

describe('what comes in, with signatures verified on other threads', () => {
  const bench = new Bench()
  afterEach(() => bench.clean())

  it('is taken and refused one by one as it is without them', async () => {
    const a = await bench.founder()
    const b = await bench.joiner(a, 2)
    for (let i = 0; i < 90; i++) await a.createService(serviceInput(a, b, { name: `s${i}` }))
    const { genesis, envelopes } = a.bootstrap()
    // A signature that is wrong, one of another envelope, a body that is wrong, and what builds on none of them.
    const broken = envelopes.map((bytes, i) => {
      if (i % 9 === 4) return bytes.with(100, (bytes[100] as number) ^ 1)
      if (i % 9 === 5) return bytes.with(bytes.length - 1, (bytes.at(-1) as number) ^ 1)
      return i % 9 === 7 ? exchanged(bytes, envelopes[i - 1] as Uint8Array) : bytes
    })
    for (const given of [envelopes, broken]) {
      let asked = 0
      const counting: Verifier = (...parts) => {
        asked++
        return verifyAside(...parts)
      }
      const [here, aside] = [await taken(given, null), await taken(given, counting)]
      assert.deepEqual(aside, here)
      assert.ok(asked > 80, `${asked} were verified aside`)
    }
    const { outcomes } = await taken(broken, verifyAside)
    assert.ok(outcomes.filter((outcome) => typeof outcome === 'object').length > 25)

    async function taken(
      given: Uint8Array[],
      verifier: Verifier | null
    ): Promise<{ outcomes: Array<ReturnType<Intake['take']>>; hashes: string[] }> {
      const intake = new Intake(new Ledger(parseGenesis(genesis)), verifier)
      const added: Entry[] = []
      const outcomes: Array<ReturnType<Intake['take']>> = []
      await intake.inBatches(given, systemClock, (batch) => {
        for (const bytes of batch) outcomes.push(intake.take(bytes, added))
      })
      return { outcomes, hashes: added.map(({ hash }) => hash) }
    }
  })

  it('one thread or another: an author that is none and a signature that is none are no signature', async () => {
    const data = Uint8Array.of(1, 2, 3)
    const { publicKey, sign } = signer(1)
    assert.equal(await verifyAside(publicKey, data, sign(data)), true)
    assert.equal(await verifyAside(publicKey, Uint8Array.of(1, 2, 4), sign(data)), false)
    assert.equal(await verifyAside(signer(2).publicKey, data, sign(data)), false)
    assert.equal(await verifyAside(publicKey.subarray(1), data, sign(data)), false)
    assert.equal(await verifyAside(publicKey, data, new Uint8Array(63)), false)
    assert.equal(await verifyAside(new Uint8Array(32).fill(255), data, sign(data)), false)
  })
})

/** An envelope with the signature of another one. */
function exchanged(bytes: Uint8Array, other: Uint8Array): Uint8Array {
  const copy = bytes.slice()
  copy.set(other.subarray(86, 150), 86)
  return copy
}

describe('an entry of the auth log', () => {
  const bench = new Bench()
  afterEach(() => bench.clean())

  it('keeps nothing of the message that it came in', async () => {
    const a = await bench.founder()
    await bench.joiner(a, 2)
    const { genesis, envelopes } = a.bootstrap()
    const ledger = new Ledger(parseGenesis(genesis))
    const intake = new Intake(ledger)
    const message = concat(envelopes)
    let at = 0
    for (const { length } of envelopes) intake.take(message.subarray(at, (at += length)), [])
    const [entry] = ledger.authEntries()
    assert.ok(entry?.auth.operation === 'admit')
    const { bytes } = entry.auth.invite
    assert.ok(bytes.length > 100 && bytes.buffer.byteLength === bytes.length, `${bytes.buffer.byteLength} bytes`)
  })
})
