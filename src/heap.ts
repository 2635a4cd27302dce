import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { Clock } from './clock.ts'

/** A start is over by then, and what it has left behind can be collected. */
const settledMs = 5_000

/**
 * Has V8 collect garbage before the heap is three times of what is alive. As flags of the command line the same would cost each
 * start more than a bare Node's: V8 takes compiled code only from a process with the same flags, and Node's own modules, which
 * are in its binary as compiled code, were made with none.
 */
export function keepHeapSmall(clock: Pick<Clock, 'after'>): void {
  clock.after(settledMs, () => {
    setFlagsFromString('--heap-growing-percent=50')
    // How much may be added goes by the last collection; until there is one, by a guess that is too high for an agent.
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc') as () => void
    collect()
  })
}
