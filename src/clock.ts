/** Time as an argument: the product gets {@link systemClock}, a simulator its own. Nothing else reads time or sets timers. */

export type Timer = { readonly cancel: () => void }

export interface Clock {
  /** Wall-clock milliseconds since the epoch. It can jump: never use it to measure a duration. */
  now(): number
  /** Monotonic milliseconds with fractions, from an arbitrary start. */
  monotonic(): number
  /** Calls `fn` once after `ms`. A timer does not keep the process alive. */
  after(ms: number, fn: () => void): Timer
  /** Calls `fn` every `ms`. A timer does not keep the process alive. */
  every(ms: number, fn: () => void): Timer
  /** Resolves after `ms`; rejects with the signal's reason as soon as it aborts. */
  sleep(ms: number, options?: { signal?: AbortSignal }): Promise<void>
}

/** Node takes a longer wait for one of 1 ms; these 24 days are as good as what was meant. */
const timerMsMax = 2 ** 31 - 1
const timerMs = (ms: number): number => Math.min(ms, timerMsMax)

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(ms, fn) {
    const timer = setTimeout(fn, timerMs(ms))
    timer.unref()
    return { cancel: () => clearTimeout(timer) }
  },
  every(ms, fn) {
    const timer = setInterval(fn, timerMs(ms))
    timer.unref()
    return { cancel: () => clearInterval(timer) }
  },
  sleep(ms, { signal } = {}) {
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) {
        reject(signal.reason)
        return
      }
      const abort = (): void => {
        clearTimeout(timer)
        reject(signal?.reason)
      }
      const timer = setTimeout(() => {
        signal?.removeEventListener('abort', abort)
        resolve()
      }, timerMs(ms))
      signal?.addEventListener('abort', abort, { once: true })
    })
  }
}

/** An ISO 8601 timestamp in UTC with milliseconds, as every API field holds it. */
export const isoTime = (ms: number): string => new Date(ms).toISOString()
