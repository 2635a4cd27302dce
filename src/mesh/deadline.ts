import type { Clock } from '../clock.ts'

/**
 * A signal that aborts after `ms` or together with `signal`, whichever is first. Dispose of it when the work is done, so
 * that no timer outlives it: `using limit = deadline(clock, 5_000, { signal })`.
 */
export function deadline(
  clock: Clock,
  ms: number,
  { signal }: { signal?: AbortSignal } = {}
): { signal: AbortSignal; [Symbol.dispose](): void } {
  const controller = new AbortController()
  const abort = (): void => controller.abort(signal?.reason)
  const timer = clock.after(ms, () => controller.abort(new TimedOutError(ms)))
  if (signal?.aborted === true) abort()
  else signal?.addEventListener('abort', abort, { once: true })
  return {
    signal: controller.signal,
    [Symbol.dispose]() {
      timer.cancel()
      signal?.removeEventListener('abort', abort)
    }
  }
}

/** Something took longer than its limit; expected wherever a network is waited for. */
export class TimedOutError extends Error {
  constructor(ms: number) {
    super(`no answer within ${ms} ms`)
    this.name = 'TimedOutError'
  }
}
