import assert from 'node:assert/strict'
import { describe, it } from 'mocha'
import { Fold } from '../../src/crdt/fold.ts'
import { parseFaults } from '../../sim/fault-list.ts'
import { formatFaults } from '../../sim/faults.ts'
import { fuzz, randomFaults } from '../../sim/fuzz.ts'
import { SCENARIOS } from '../../sim/scenarios/index.ts'
import { SeededRandom } from '../../sim/random.ts'
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

  it('takes no fault that would do nothing, and says how it is written', () => {
    const wrong: Array<[list: string, message: RegExp]> = [
      ['kill@1+2', /"kill@1\+2" does not say which hosts; write kill@AT\+FOR:HOSTS$/],
      ['split@1+2:,', /does not say which hosts/],
      ['cut@1+2:1', /does not say two groups of hosts; write cut@AT\+FOR:HOSTS\|HOSTS$/],
      ['oneway@1+2:1|', /does not say two groups/],
      ['cut@1+2:1|2|3', /does not say two groups/],
      ['loss@1+2', /does not say how much; write loss@AT\+FOR\[:HOSTS\]=PERCENT$/],
      ['loss@1+2=101', /takes 1 to 100/],
      ['clock-jump@1+2:0=0', /does not say how much/],
      ['freeze@1+2:0=5', /has an amount, which means nothing to it/],
      ['latency@1+2=-5', /takes 1 to /]
    ]
    for (const [list, message] of wrong) assert.throws(() => parseFaults(list), { name: 'RangeError', message })
  })

  it('explores no fault list that could not be typed again, and no scenario has one', () => {
    const lists: string[] = []
    for (let i = 0; i < 500; i++) {
      const [random, peers] = [new SeededRandom(`${i}`), 2 + (i % 12)]
      lists.push(formatFaults(randomFaults(random, Math.max(3, peers), 20_000)))
      lists.push(...SCENARIOS.map(({ faults }) => formatFaults(faults({ random, peers }))))
    }
    for (const list of lists) assert.equal(formatFaults(parseFaults(list)), list)
    assert.ok(new Set(lists.flatMap((list) => list.match(/[a-z-]+(?=@)/g) ?? [])).size > 20, 'all kinds come up')
  })
})
