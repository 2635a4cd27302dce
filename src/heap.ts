import { setFlagsFromString } from 'node:v8'
import type { Clock } from './clock.ts'

/** A start is over by then: what is loaded later is compiled anew. */
const settledMs = 5_000

/**
 * Has V8 collect garbage before the heap is three times of what is alive. As flags of the command line the same would cost each
 * start more than a bare Node's: V8 takes compiled code only from a process with the same flags, and Node's own modules, which
 * are in its binary as compiled code, were made with none. It counts from the next collection on, of which a start has some; one
 * made here would have two more follow when the agent is idle, by V8's memory reducer.
 */
export function keepHeapSmall(clock: Pick<Clock, 'after'>): void {
  clock.after(settledMs, () => {
    setFlagsFromString('--heap-growing-percent=30')
  })
}
