import type { Clock, Timer } from '../../src/clock.ts'
import type { Scheduled, Scheduler } from '../scheduler.ts'
import { epochMs } from '../limits.ts'

/** The wall clock of a host, which faults turn. Its agents come and go, the error stays. */
export interface WallClock {
  offsetMs: number
  /** 1.001: gains a second in 1,000. */
  rate: number
}

/**
 * The clock of one agent's life. When the life ends it is halted: no timer fires any more and no sleep ends, which is what
 * becomes of a process that was killed. A frozen host's timers fire late, in order, as after SIGSTOP.
 */
export class HostClock implements Clock {
  readonly #scheduler: Scheduler
  readonly #wall: WallClock
  /** Virtual time until which the host stands still. */
  readonly #frozenUntil: () => number
  readonly #timers = new Set<Scheduled>()
  #halted = false

  constructor(scheduler: Scheduler, wall: WallClock, frozenUntil: () => number) {
    this.#scheduler = scheduler
    this.#wall = wall
    this.#frozenUntil = frozenUntil
  }

  now(): number {
    return Math.floor(epochMs + this.#wall.offsetMs + this.#scheduler.now * this.#wall.rate)
  }

  monotonic(): number {
    return this.#scheduler.now
  }

  after(ms: number, fn: () => void): Timer {
    if (this.#halted) return { cancel: () => {} }
    let timer: Scheduled
    const set = (wait: number): void => {
      timer = this.#scheduler.after(wait, () => {
        this.#timers.delete(timer)
        const frozen = this.#frozenUntil() - this.#scheduler.now
        if (frozen > 0) set(frozen)
        else fn()
      })
      this.#timers.add(timer)
    }
    set(ms)
    return {
      cancel: () => {
        timer.fn = null
        this.#timers.delete(timer)
      }
    }
  }

  every(ms: number, fn: () => void): Timer {
    let timer: Timer
    let cancelled = false
    const again = (): void => {
      timer = this.after(ms, () => {
        fn()
        if (!cancelled) again()
      })
    }
    again()
    return {
      cancel: () => {
        cancelled = true
        timer.cancel()
      }
    }
  }

  sleep(ms: number, { signal }: { signal?: AbortSignal } = {}): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) {
        reject(signal.reason as Error)
        return
      }
      const abort = (): void => {
        timer.cancel()
        reject(signal?.reason as Error)
      }
      const timer = this.after(ms, () => {
        signal?.removeEventListener('abort', abort)
        resolve()
      })
      signal?.addEventListener('abort', abort, { once: true })
    })
  }

  /** Timers that are set. A stopped agent leaves none. */
  get pending(): number {
    return this.#timers.size
  }

  get halted(): boolean {
    return this.#halted
  }

  halt(): void {
    this.#halted = true
    for (const timer of this.#timers) timer.fn = null
    this.#timers.clear()
  }
}
