import { ok } from 'node:assert/strict'
import { setImmediate as turn } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { fault } from '../../sim/scenarios/scenario.ts'
import type { World } from '../../sim/world.ts'
import { play } from './support/short.ts'

describe('sim: a run that is over', function () {
  this.timeout(120_000)
  this.slow(20_000)

  it('leaves nothing of its world in memory, although agents were killed and never ended', async () => {
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc') as () => void
    const worlds: Array<WeakRef<World>> = []
    const faults = [fault('kill', 300, 1_000, [[1, 2]]), fault('power', 1_800, 500, [[0]])]
    for (const seed of ['1', '2', '3'])
      await play({ seed, faults, mutate: (world) => void worlds.push(new WeakRef(world)) })
    // What the last run ended with may still be on its way.
    for (let i = 0; i < 5; i++) {
      await turn()
      collect()
    }
    const left = worlds.slice(0, -1).filter((one) => one.deref() != null)
    ok(left.length === 0, `${left.length} of ${worlds.length - 1} worlds are left`)
  })
})
