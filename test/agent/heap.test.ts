import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const heap = fileURLToPath(new URL('../../src/heap.ts', import.meta.url))

describe('the heap of an agent', function () {
  this.timeout(60_000)
  this.slow(20_000)

  it('is collected before it is three times what is alive', () => {
    assert.ok(peak(true) < 3)
  })

  it('would be more than that', () => {
    assert.ok(peak(false) > 3)
  })

  /** The most of the heap in use, to what is alive. */
  function peak(isKeptSmall: boolean): number {
    const script = `
      import { keepHeapSmall } from ${JSON.stringify(heap)}
      const block = () => Array.from({ length: 8_192 }, (_, i) => i + 0.5)
      const alive = Array.from({ length: 300 }, block)
      if (${isKeptSmall}) keepHeapSmall({ after: (_, run) => run() })
      let peak = 0
      // Each lives long enough to leave the nursery. The first half has the heap collected.
      const ring = Array.from({ length: 50 })
      for (let i = 0; i < 6_000; i++) {
        ring[i % ring.length] = block()
        if (i > 3_000 && i % 10 === 0) peak = Math.max(peak, process.memoryUsage().heapUsed)
      }
      console.log(peak / (alive.length * 8_192 * 8))`
    const flags = [
      '--min-semi-space-size=4',
      '--max-semi-space-size=4',
      '--disable-warning=ExperimentalWarning',
      '--input-type=module',
      '-e',
      script
    ]
    return Number(execFileSync(process.execPath, flags, { encoding: 'utf8' }))
  }
})
