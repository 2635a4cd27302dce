import { deepEqual, equal, throws } from 'node:assert/strict'
import * as fc from 'fast-check'
import { reportCountersMs, reportRemovalsMax, reportsPerPeerMax } from '../../src/mesh/limits.ts'
import type { ServiceReport } from '../../src/mesh/mesh.ts'
import { ReportBook } from '../../src/mesh/report/book.ts'
import { FakeClock } from '../actors/fakes/clock.ts'
import { serviceReport as report } from './service-report.ts'

describe('ReportBook', () => {
  const make = () => {
    const clock = new FakeClock()
    const announced: number[] = []
    const book: ReportBook = new ReportBook({
      incarnation: 1,
      clock,
      onChange: () => announced.push(book.version().seq)
    })
    return { clock, announced, book }
  }

  it('gives a reader who applies its deltas what was published, whenever the reader asks', () => {
    const step = fc.record({
      publish: fc.dictionary(
        fc.constantFrom('a', 'b', 'c', 'd'),
        fc.record({ spec: fc.constantFrom('', 'x'), flows: fc.nat(2) })
      ),
      ask: fc.boolean()
    })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 20 }), (steps) => {
        const { book } = make()
        const held = new Map<string, ServiceReport>()
        let seen = { incarnation: 0, seq: 0 }
        for (const [i, { publish, ask }] of steps.entries()) {
          book.publish(new Map(Object.entries(publish).map(([id, change]) => [id, report(id, change)])))
          if (!ask && i < steps.length - 1) continue
          const delta = book.since(seen.seq, seen.incarnation)
          if (delta.whole) held.clear()
          for (const id of delta.removed) held.delete(id)
          for (const one of delta.changed) held.set(one.service_id, one)
          seen = delta
          deepEqual(held, book.all())
        }
      })
    )
  })

  it('announces a change at once, but counters alone at most once a second', async () => {
    const { clock, announced, book } = make()
    book.publish(new Map([['a', report('a')]]))
    deepEqual(announced, [1])
    for (let i = 1; i <= 20; i++) {
      book.publish(new Map([['a', report('a', { flows: i })]]))
      await clock.advance(reportCountersMs / 10)
    }
    deepEqual(announced, [1, 2, 3])
    book.publish(new Map([['a', report('a', { flows: 21, state: 'failed' })]]))
    deepEqual(announced, [1, 2, 3, 4])
    book.stop()
    equal(clock.pending, 0)
  })

  it('serves counters as they are, announced or not', () => {
    const { book } = make()
    book.publish(new Map([['a', report('a')]]))
    const { seq } = book.since(0, 1)
    book.publish(new Map([['a', report('a', { bytes_in: 5 })]]))
    deepEqual(
      book.since(seq, 1).changed.map(({ bytes_in }) => bytes_in),
      [5]
    )
    book.stop()
  })

  it('gives everything to who is of another incarnation, from the future, or too far behind', () => {
    const { book } = make()
    const many = new Map(Array.from({ length: reportRemovalsMax + 5 }, (_, i) => [`s${i}`, report(`s${i}`)]))
    book.publish(many)
    book.publish(new Map([['kept', report('kept')]]))
    book.publish(new Map([['kept', report('kept', { spec: 'y' })]]))
    for (const [since, incarnation] of [
      [3, 9],
      [99, 1],
      [1, 1]
    ] as const) {
      const delta = book.since(since, incarnation)
      deepEqual([delta.whole, delta.changed.map((one) => one.service_id), delta.removed], [true, ['kept'], []])
    }
    equal(book.since(2, 1).whole, false)
  })

  it('refuses more services than a peer may report on', () => {
    const { book } = make()
    const many = new Map(Array.from({ length: reportsPerPeerMax + 1 }, (_, i) => [`${i}`, report(`${i}`)]))
    throws(() => book.publish(many), { code: 'invalid_request' })
  })
})
