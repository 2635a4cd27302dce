import { AsyncLocalStorage } from 'node:async_hooks'

/**
 * On whose behalf the agent works right now, passed along by the runtime through everything that a request awaits. Only
 * the history reads it, so no signature between the API and the replica has to carry what it does not need.
 */
export interface Caller {
  /** A token's. */
  id: string
  name: string
}

const callers = new AsyncLocalStorage<Caller | null>()

/** Runs `work`, and all that it starts, for `caller`; null is this host's own operator, or the agent itself. */
export const asCaller = <T>(caller: Caller | null, work: () => T): T => callers.run(caller, work)

/** `token 01J… NAME`, or null when nobody with a token asked. */
export function viaNow(): string | null {
  const caller = callers.getStore()
  return caller == null ? null : `token ${caller.id} ${caller.name}`
}
