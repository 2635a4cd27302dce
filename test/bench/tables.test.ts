import assert from 'node:assert/strict'
import * as fc from 'fast-check'
import { table } from '../../bench/report.ts'
import { inRounds, median, mediansOf, type Result } from '../../bench/rounds.ts'

describe('bench: rounds and tables', () => {
  it('measures every contender once a round, in turn', async () => {
    const order: string[] = []
    const contenders = ['a', 'b'].map((name) => ({ name, pids: [], path: null }))
    const measure = async ({ name }: { name: string }): Promise<{ value: number }> => {
      order.push(name)
      return { value: order.length }
    }
    const results = await inRounds(contenders, 3, measure, () => {})
    assert.deepEqual(order, ['a', 'b', 'a', 'b', 'a', 'b'])
    assert.deepEqual(
      results.map((result) => result.median['value']),
      [3, 4]
    )
  })

  it('a median has as many values below as above it', () => {
    fc.assert(
      fc.property(fc.array(fc.integer(), { minLength: 1 }), (values) => {
        const middle = median(values)
        const below = values.filter((value) => value < middle).length
        const above = values.filter((value) => value > middle).length
        assert.ok(below <= values.length / 2 && above <= values.length / 2)
      })
    )
  })

  it('a figure that was not measured every time is the median of the times it was', () => {
    assert.deepEqual(mediansOf([{ x: 1 }, { x: Number.NaN }, { x: 3, y: 7 }]), { x: 2, y: 7 })
  })

  it('shows each figure beside the reference, and a dash where there is none', () => {
    const results: Result[] = [
      { name: 'ours', rounds: [], median: { gbps: 12, loss: 0 } },
      { name: 'theirs', rounds: [], median: { gbps: 8 } }
    ]
    const columns = [
      { title: 'Gbit/s', figure: 'gbps', digits: 1 },
      { title: 'lost %', figure: 'loss', digits: 0 }
    ]
    assert.deepEqual(table(results, columns, 'theirs').split('\n'), [
      '|  | Gbit/s | lost % |',
      '| --- | ---: | ---: |',
      '| ours | 12.0 (1.50×) | 0 |',
      '| theirs | 8.0 | – |'
    ])
  })
})
