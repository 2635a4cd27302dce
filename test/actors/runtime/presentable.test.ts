import assert from 'node:assert/strict'
import { contextItemsMax, contextTextMax } from '../../../src/actors/limits.ts'
import { presentable } from '../../../src/actors/runtime/presentable.ts'

describe('an actor context as JSON', () => {
  it('shows data, cuts what is long and leaves out what is no data', () => {
    class Part {
      secret = 'in a live part'
    }
    const loop: Record<string, unknown> = { n: 1 }
    loop['self'] = loop
    const shown = presentable({
      id: 'x',
      none: null,
      map: new Map([['a', { b: 1 }]]),
      many: Array.from({ length: contextItemsMax + 3 }, (_, i) => i),
      text: 'y'.repeat(contextTextMax + 1),
      part: new Part(),
      log: { info: () => {}, warn: () => {} },
      act: () => {},
      private_key: 'abc',
      loop
    })
    assert.deepEqual([shown['id'], shown['none'], shown['map']], ['x', null, [['a', { b: 1 }]]])
    assert.equal((shown['many'] as unknown[]).at(-1), '… 3 more')
    assert.equal((shown['text'] as string).length, contextTextMax + 1)
    for (const left of ['part', 'log', 'act']) assert.equal(left in shown, false, left)
    assert.equal(shown['private_key'], '[not shown]')
    assert.ok(JSON.stringify(shown).length < 5_000, 'a loop ends')
  })
})
