import { getEventListeners } from 'node:events'

/**
 * Node keeps every signal of `AbortSignal.any` that somebody listens to until it aborts. Those of agents that were killed never
 * do, and each holds its agent and so the whole world: 2 MB a run, which `sim fuzz` makes thousands of.
 *
 * From now on such signals are remembered; what is returned takes all listeners from those that are left.
 */
export function rememberSignals(): () => void {
  const any = AbortSignal.any.bind(AbortSignal)
  let made: Array<WeakRef<AbortSignal>> = []
  let lookAt = lookAtLeast
  AbortSignal.any = (signals) => {
    const signal = any(signals)
    made.push(new WeakRef(signal))
    if (made.length >= lookAt) {
      made = made.filter((one) => one.deref()?.aborted === false)
      lookAt = Math.max(lookAtLeast, 2 * made.length)
    }
    return signal
  }
  return () => {
    AbortSignal.any = any
    for (const one of made) {
      const signal = one.deref()
      if (signal == null) continue
      for (const listener of getEventListeners(signal, 'abort'))
        signal.removeEventListener('abort', listener as () => void)
    }
  }
}

const lookAtLeast = 10_000
