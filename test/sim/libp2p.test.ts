import assert from 'node:assert/strict'
import { describe, it } from 'mocha'
import { fault } from '../../sim/scenarios/scenario.ts'
import { play, said } from './support/short.ts'

describe('sim: real libp2p over the simulated wire', function () {
  this.timeout(300_000)
  this.slow(30_000)

  it('runs from a seed, the same way each time, through loss, a split, a crash and a power failure', async () => {
    const faults = [
      fault('loss', 0, 2_500, [], 10),
      fault('split', 400, 1_200, [[0]]),
      fault('kill', 1_700, 300, [[1]]),
      fault('power', 2_100, 400, [[2]])
    ]
    const first = await play({ network: 'libp2p', faults })
    assert.equal(said(first), '')
    assert.ok(first.changes > 5 && first.deliveries > 300, `${first.changes} changes, ${first.deliveries} deliveries`)
    assert.equal((await play({ network: 'libp2p', faults })).trace_hash, first.trace_hash)
    assert.notEqual((await play({ network: 'libp2p', faults, seed: '2' })).trace_hash, first.trace_hash)
  })

  it('tells each member once, also while others are just connecting', async () => {
    // Eight that join one after the other: 950 KB. Handed on by everybody as long as somebody is new, 1,350 KB.
    const { bytes, ...rest } = await play({ network: 'libp2p', peers: 8 })
    assert.equal(said(rest), '')
    assert.ok(bytes < 1_150_000, `${bytes} bytes`)
  })

  it('gives time and chance back to the process', async () => {
    await play({ network: 'libp2p' })
    const [now, chance] = [Date.now(), Math.random()]
    await new Promise((resolve) => setTimeout(resolve, 20))
    assert.ok(Math.abs(Date.now() - now) < 60_000 && Date.now() > now)
    assert.notEqual(Math.random(), chance)
  })
})
