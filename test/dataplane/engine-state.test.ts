import assert from 'node:assert/strict'
import { setImmediate } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, it } from 'mocha'
import { engineState, type EngineState } from '../../src/dataplane/engine-state.ts'

describe('the state that engines are told', () => {
  it('does not keep the one before it, and with it all that was ever told', async () => {
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc') as () => void
    const told: Array<WeakRef<EngineState>> = []
    let inForce: EngineState | null = null
    for (let n = 0; n < 100; n++) {
      const next = engineState({ n }, (before, after) => ({ from: before.n, to: after.n }))
      if (inForce != null) assert.equal(next.since(inForce), `{"from":${n - 1},"to":${n}}`)
      told.push(new WeakRef(next))
      inForce = next
      await setImmediate()
    }
    collect()
    const kept = told.filter((state) => state.deref() != null).length
    assert.ok(kept <= 3, `${kept} of 100 states are still in memory`)
    // The one in force is told what it was told before, to an engine that carries on beside another one.
    assert.equal(inForce?.text(), '{"n":99}')
  })

  it('tells two engines with the same state the same, worked out once', () => {
    let worked = 0
    const changeOf = (): object => ({ change: ++worked })
    const [first, second] = [engineState({ n: 1 }, changeOf), engineState({ n: 2 }, changeOf)]
    assert.equal(second.since(first), '{"change":1}')
    assert.equal(second.since(first), '{"change":1}')
  })
})
