import { systemClock } from '../src/clock.ts'
import { pollMs } from './limits.ts'

export interface WaitOptions {
  timeoutMs: number
  /** How often to look, ms. */
  everyMs?: number
  signal?: AbortSignal
}

/** Something did not come true in time. `what` says what was waited for, `last` what was seen instead. */
export class WaitedInVainError extends Error {
  constructor(what: string, timeoutMs: number, last: string) {
    super(`waited ${timeoutMs} ms for ${what}${last === '' ? '' : `; last seen: ${last}`}`)
    this.name = 'WaitedInVainError'
  }
}

/**
 * Looks until `probe` returns something other than null, undefined or false, and returns that. A probe that throws
 * counts as "not yet" and its error is told at the end.
 */
export async function until<T>(
  what: string,
  probe: () => T | Promise<T>,
  { timeoutMs, everyMs = pollMs, signal }: WaitOptions
): Promise<NonNullable<T>> {
  const end = systemClock.monotonic() + timeoutMs
  let last = ''
  for (;;) {
    try {
      const seen = await probe()
      if (seen != null && seen !== false) return seen
    } catch (error) {
      last = error instanceof Error ? error.message : String(error)
    }
    if (systemClock.monotonic() >= end) throw new WaitedInVainError(what, timeoutMs, last)
    await systemClock.sleep(everyMs, { signal })
  }
}

export const sleep = (ms: number): Promise<void> => systemClock.sleep(ms)

/** Runs `work` and says how long it took, ms. */
export async function timed<T>(work: () => Promise<T>): Promise<{ ms: number; result: T }> {
  const start = systemClock.monotonic()
  const result = await work()
  return { ms: systemClock.monotonic() - start, result }
}
