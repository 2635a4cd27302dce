import assert from 'node:assert/strict'
import { describe, it } from 'mocha'
import { FAULTS } from '../../sim/faults.ts'
import { simulate } from '../../sim/run.ts'
import { SCENARIOS } from '../../sim/scenarios/index.ts'
import { SeededRandom } from '../../sim/random.ts'
import { said } from './support/short.ts'

/** The smallest cast that each story makes sense with; larger ones and other seeds are `arctic sim run`'s and the fuzzer's. */
const peersMax = 5
const seed = '1'

describe('sim: each scenario', function () {
  this.timeout(300_000)
  this.slow(30_000)

  for (const scenario of SCENARIOS) {
    const peers = Math.min(scenario.peers, peersMax)
    it(`${scenario.name} violates nothing and comes to rest`, async () => {
      const result = await simulate({ scenario, peers, seed })
      assert.equal(said(result), '')
      assert.notEqual(result.settled_ms, null)
      assert.ok(result.changes > 3, `only ${result.changes} changes were made`)
      assert.ok(result.refused < result.changes, `${result.refused} of the wishes were refused`)
    })
  }

  it('uses each fault of the menu in some story', () => {
    const random = new SeededRandom('menu')
    const used = new Set(SCENARIOS.flatMap(({ peers, faults }) => faults({ peers, random }).map(({ kind }) => kind)))
    assert.deepEqual(
      Object.keys(FAULTS).filter((kind) => !used.has(kind as keyof typeof FAULTS)),
      []
    )
  })
})
