import type { Context, Flag } from './command.ts'
import { Failure } from './failure.ts'
import { watchGatherMs } from './limits.ts'

/** Flags of every list. */
export const listFlags: readonly Flag[] = [
  {
    name: 'limit',
    short: 'n',
    kind: 'integer',
    placeholder: 'N',
    field: 'limit',
    help: 'at most so many, the smallest ids first'
  },
  { name: 'watch', kind: 'boolean', help: 'print the list again after every change, until Ctrl-C' }
]

/**
 * Prints a list, and with `watch` again after every change until the signal aborts.
 * 1. The event stream is opened before the first reading, so that no change falls between the two.
 * 2. Changes within `watchGatherMs` become one reading.
 * 3. A reading that equals the last one is not printed.
 */
export async function printList<T>(
  context: Context,
  list: {
    watch: boolean
    /** Event types that may change the list, e.g. `service.*,peer.*`. */
    types: string
    read: () => Promise<T[]>
    text: (rows: T[]) => string | Promise<string>
  }
): Promise<void> {
  const { api, print, clock, signal } = context
  let last: string | undefined
  const show = async (): Promise<void> => {
    const rows = await list.read()
    const shown = JSON.stringify(rows)
    if (shown === last) return
    last = shown
    await print.data(rows, () => list.text(rows))
  }
  if (!list.watch) return show()

  const ended = new AbortController()
  const stop = AbortSignal.any([signal, ended.signal])
  let changed = Promise.withResolvers<void>()
  const listen = async (): Promise<void> => {
    for await (const _event of api.events(list.types, { signal: stop })) changed.resolve()
    throw new Failure('unavailable', 'the agent ended the event stream; start the command again when it is back')
  }
  const follow = async (): Promise<void> => {
    while (!stop.aborted) {
      await changed.promise
      changed = Promise.withResolvers()
      await show()
      await clock.sleep(watchGatherMs, { signal: stop })
    }
  }
  try {
    await Promise.race([listen(), follow()])
  } finally {
    ended.abort()
  }
}
