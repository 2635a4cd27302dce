import assert from 'node:assert/strict'
import { describe, it } from 'mocha'
import { parseFaults } from '../../sim/fault-list.ts'
import { REGRESSIONS } from '../../sim/regressions.ts'
import { simulate } from '../../sim/run.ts'
import { scenarioNamed } from '../../sim/scenarios/index.ts'
import { said } from './support/short.ts'

describe(`sim: ${REGRESSIONS.length} seeds that found something once`, function () {
  this.timeout(600_000)
  this.slow(120_000)

  for (const { name, scenario: story, peers, seed, faults, broke } of REGRESSIONS) {
    it(`${name} (${broke})`, async () => {
      const scenario = scenarioNamed(story)
      assert.ok(scenario != null, `there is no scenario ${story}`)
      assert.equal(said(await simulate({ scenario, peers, seed, faults: parseFaults(faults) })), '')
    })
  }

  it('have names of their own', () => {
    assert.equal(new Set(REGRESSIONS.map(({ name }) => name)).size, REGRESSIONS.length)
  })
})
