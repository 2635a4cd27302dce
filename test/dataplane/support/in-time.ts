import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'

const triesMax = 3

/**
 * A promise about time, on a machine that may stand still for as long by itself: what keeps it does so in one of three tries, and
 * what does not in none. `attempt` does the harm and resolves when it is mended.
 */
export async function inTime(ms: number, what: string, attempt: () => Promise<void>): Promise<void> {
  const took: number[] = []
  while (took.length < triesMax) {
    const began = performance.now()
    await attempt()
    took.push(Math.round(performance.now() - began))
    if ((took.at(-1) ?? 0) < ms) return
  }
  assert.fail(`${what} took ${took.join(', ')} ms, not ${ms}`)
}

/** Looks every 20 ms until it is so. */
export async function comes(what: string, isSo: () => boolean | Promise<boolean>, ms = 10_000): Promise<void> {
  const end = performance.now() + ms
  while (!(await isSo())) {
    assert.ok(performance.now() < end, `not within ${ms} ms: ${what}`)
    await sleep(20)
  }
}
