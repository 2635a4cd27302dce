import assert from 'node:assert/strict'
import { describe, it } from 'mocha'
import { Fold } from '../../src/crdt/fold.ts'
import { formatFaults, parseFaults } from '../../sim/faults.ts'
import { fuzz } from '../../sim/fuzz.ts'
import { SCENARIOS } from '../../sim/scenarios/index.ts'
import { shrink } from '../../sim/shrink.ts'
import { play, said, short } from './support/short.ts'

/** Runs that each check explores; more is `arctic sim fuzz`'s. */
const runs = 8
const shrunk = { ...short, name: 'calm', peers: 4 }

describe('sim: fuzz', function () {
  this.timeout(300_000)
  this.slow(60_000)

  it(`explores ${runs} runs of a fixed seed and finds nothing`, async () => {
    const stories = SCENARIOS.map((one) => ({ ...one, durationMs: Math.min(one.durationMs, 6_000) }))
    const result = await fuzz({ scenarios: stories, seed: 'check', findingsMax: 1, goesOn: (done) => done < runs })
    const figures = `${result.runs} runs, ${result.virtual_seconds.toFixed(0)} s, ${result.deliveries} messages`
    process.stdout.write(`      fuzzed from seed ${result.seed}: ${figures}\n`)
    assert.equal(result.findings.map((one) => `${said(one)}\nreplay: ${one.replay}`).join('\n'), '')
    assert.equal(result.runs, runs)
  })

  it('makes the fault list of a failure as short as it can, and says the line that does it again', async () => {
    const { isSound } = Fold.prototype
    Fold.prototype.isSound = () => true
    try {
      const scenario = { ...shrunk, faults: () => parseFaults('loss@100+1000=5;traitor@800+1500:2;freeze@500+400:1') }
      const { findings } = await fuzz({ scenarios: [scenario], seed: 'x', findingsMax: 1, goesOn: (n) => n < 8 })
      const [found] = findings
      assert.match(found == null ? '' : said(found), /authority: .*without the right/)
      const [, list = ''] = /--faults '([^']*)'$/.exec(found?.replay ?? '') ?? []
      const faults = parseFaults(list)
      assert.deepEqual([...new Set(faults.map(({ kind }) => kind))], ['traitor'], list)
      const [, peers, seed] = /^arctic sim run calm --peers (\d) --seed (\S+) /.exec(found?.replay ?? '') ?? []
      assert.ok(found?.regression.includes(`seed: '${seed}', faults: '${list}'`), found?.regression)
      const again = await play({ scenario, peers: Number(peers), seed: seed ?? '', faults })
      assert.deepEqual(again.violations, found?.violations)
    } finally {
      Fold.prototype.isSound = isSound
    }
  })

  it('shrinks a list to the parts that matter, in few tries', async () => {
    const list = Array.from({ length: 64 }, (_, i) => i)
    let tries = 0
    const fails = async (part: number[]): Promise<boolean> => {
      tries++
      return part.includes(13) && part.includes(40)
    }
    assert.deepEqual(await shrink(list, fails, 200), [13, 40])
    assert.ok(tries < 100, `${tries} tries`)
    assert.ok((await shrink(list, fails, 8)).length < 64)
  })

  it('reads the fault lists that it writes, and says what is no fault', () => {
    const text = 'split@0+500:0,1;cut@5+10:0|1,2;loss@1+2=30;clock-jump@3+4:1=-500'
    assert.equal(formatFaults(parseFaults(text)), text)
    assert.throws(() => parseFaults('loss@1+2=30;rain@5+5'), /"rain@5\+5" is no fault/)
    assert.throws(() => parseFaults('loss'), RangeError)
  })
})
