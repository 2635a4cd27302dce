import type { Clock, Timer } from '../../clock.ts'

/** Our clock in the shape that an xstate system takes, so that delayed transitions run on virtual time in a simulator. */
export const xstateClock = (
  clock: Clock
): { setTimeout: (fn: () => void, ms: number) => Timer; clearTimeout: (timer: Timer | undefined) => void } => ({
  setTimeout: (fn, ms) => clock.after(ms, fn),
  clearTimeout: (timer) => timer?.cancel()
})
