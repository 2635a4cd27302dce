import type { Logger } from '../log.ts'
import { diskError } from './disk.ts'

/**
 * Room beside memory for what can be made anew, as long as the process lives. Both ways throw the errors of `node:fs`, at once.
 */
export interface Scratch {
  /** All of `bytes`. */
  write(bytes: Uint8Array, position: number): void
  /** Fills `into`. */
  read(into: Uint8Array, position: number): void
  /** To be called when what was written does not come back: `read` has thrown, or it is something else. */
  lost?(error: unknown): void
}

/** null: there is none, and memory holds all. Throws as a {@link Scratch} does when there is none just now. */
export type OpenScratch = () => Scratch | null

/**
 * Says when it cannot be written, for which memory has to hold more, and when it can again; and calls `fail` with an UnavailableError
 * when something does not come back, for that is nowhere then.
 */
export function reported(
  open: OpenScratch,
  { directory, log, fail }: { directory: string; log: Logger; fail: (error: unknown) => void }
): OpenScratch {
  let isFailing = false
  const tried = <T>(work: () => T): T => {
    try {
      const result = work()
      if (isFailing) log.info({ directory }, 'the history goes to its file again')
      isFailing = false
      return result
    } catch (error) {
      const why = diskError(error, directory)
      if (!isFailing) log.warn({ error: why }, 'what of the history should be in a file stays in memory')
      isFailing = true
      throw error
    }
  }
  return () => {
    const scratch = tried(open)
    return (
      scratch && {
        write: (bytes, position) => tried(() => scratch.write(bytes, position)),
        read: (into, position) => scratch.read(into, position),
        lost: (error) => fail(diskError(error, directory))
      }
    )
  }
}
