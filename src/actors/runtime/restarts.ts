import { restartMaxMs, restartMinMs, restartsMax, restartWindowMs } from '../limits.ts'

export interface RestartPolicy {
  /** More failures than this within the window, and the supervisor gives up on the child. */
  intensity: number
  windowMs: number
  minMs: number
  maxMs: number
  /**
   * What giving up means. `quarantine`: the child stays away and the others go on (one bad service must not take the
   * rest with it). `escalate`: the supervisor fails, and whoever supervises it decides.
   */
  onGiveUp: 'quarantine' | 'escalate'
}

export const restartPolicy: RestartPolicy = {
  intensity: restartsMax,
  windowMs: restartWindowMs,
  minMs: restartMinMs,
  maxMs: restartMaxMs,
  onGiveUp: 'escalate'
}

export interface RestartDecision {
  /** Failure times (ms) that still count. */
  failures: number[]
  /** Wait this long, then start again; null: give up. */
  delayMs: number | null
}

/** Decides about the failure at `now`, given the earlier ones. The delay doubles with each failure in the window. */
export function decideRestart(earlier: readonly number[], now: number, policy: RestartPolicy): RestartDecision {
  const failures = [...earlier.filter((at) => now - at < policy.windowMs), now]
  if (failures.length > policy.intensity) return { failures, delayMs: null }
  return { failures, delayMs: Math.min(policy.minMs * 2 ** (failures.length - 1), policy.maxMs) }
}
