import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { describe, it } from 'mocha'
import { fault } from '../../sim/scenarios/scenario.ts'
import { play } from './support/short.ts'

const faults = [
  fault('loss', 0, 2_500, [], 20),
  fault('split', 500, 1_500, [[0]]),
  fault('power', 1_000, 800, [[1]]),
  fault('freeze', 1_800, 600, [[2]])
]
const list = 'loss@0+2500=20;split@500+1500:0;power@1000+800:1;freeze@1800+600:2'

/** What depends on more than the seed. */
const ofTheMachine = { wall_seconds: 0, memory_megabytes: 0, timeline: [] }

/** Another process, with flags of Node that must not matter. */
async function elsewhere(...flags: string[]): Promise<{ trace_hash: string; deliveries: number }> {
  const args = ['src/main.ts', 'sim', 'run', 'calm', '--peers', '3', '--seed', '7', '--faults', list, '-j']
  const node = ['--disable-warning=ExperimentalWarning', ...flags, ...args]
  const { stdout } = await promisify(execFile)(process.execPath, node, { maxBuffer: 1e8, timeout: 240_000 })
  return JSON.parse(stdout) as { trace_hash: string; deliveries: number }
}

describe('sim: the same seed is the same run', function () {
  this.timeout(300_000)
  this.slow(20_000)

  it('twice in one process, and another seed is another one', async () => {
    const [first, second] = [await play({ faults }), await play({ faults })]
    assert.equal(first.trace_hash, second.trace_hash)
    assert.deepEqual({ ...second, ...ofTheMachine }, { ...first, ...ofTheMachine })
    assert.notEqual((await play({ faults, seed: '2' })).trace_hash, first.trace_hash)
  })

  it('whatever the wall clock, Math.random and the speed of the machine say', async () => {
    const plain = await play({ faults })
    const [now, random] = [Date.now, Math.random]
    let ticks = 0
    let odd
    try {
      // A clock that leaps, and a machine that stutters.
      Date.now = () => now() + (ticks += 86_400_000)
      Math.random = () => 0.5
      odd = await play({ faults, onProgress: () => busy(30) })
    } finally {
      Object.assign(Date, { now })
      Object.assign(Math, { random })
    }
    assert.equal(odd.trace_hash, plain.trace_hash)
  })

  it('in two processes, with other hash seeds, stacks and memory', async () => {
    const [one, other] = await Promise.all([
      elsewhere('--hash-seed=1', '--stack-size=700'),
      elsewhere('--hash-seed=4242', '--stack-size=1400', '--max-semi-space-size=2')
    ])
    assert.ok(one.deliveries > 500, `only ${one.deliveries} messages were delivered`)
    assert.equal(one.trace_hash, other.trace_hash)
  })
})

function busy(ms: number): void {
  const end = performance.now() + ms
  while (performance.now() < end);
}
