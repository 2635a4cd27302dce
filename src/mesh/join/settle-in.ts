import type { Clock } from '../../clock.ts'
import type { PeerId } from '../../crdt/schema.ts'
import { ArcticError, UnavailableError } from '../../errors.ts'
import type { Logger } from '../../log.ts'
import { deadline } from '../deadline.ts'
import { joinTimeoutMs, settleInRetryMs } from '../limits.ts'

/**
 * What a peer does right after it has become a member, so that others know it and it knows what they do. A connection
 * that breaks meanwhile is no reason to fail: `attempt` may be made again, and is until a join has taken long enough.
 * UnavailableError then, which says that this peer is a member and the rest comes by itself; any ArcticError of `attempt`
 * at once.
 */
export async function settleIn(
  inviter: PeerId,
  attempt: (signal: AbortSignal) => Promise<void>,
  parts: { clock: Clock; log: Logger; isMember: () => boolean; signal: AbortSignal }
): Promise<void> {
  const { clock, log, isMember, signal } = parts
  using limit = deadline(clock, joinTimeoutMs, { signal })
  for (;;) {
    try {
      return await attempt(limit.signal)
    } catch (error) {
      signal.throwIfAborted()
      if (error instanceof ArcticError && error.code !== 'unavailable') throw error
      if (limit.signal.aborted || !isMember()) throw unsettled(inviter, error)
      log.info({ inviter, error }, 'joined, but the first sync broke off; it is tried again')
    }
    await clock.sleep(settleInRetryMs, { signal: limit.signal }).catch(() => {})
    signal.throwIfAborted()
  }
}

const unsettled = (inviter: PeerId, cause: unknown): UnavailableError => {
  const why = cause instanceof Error ? cause.message : String(cause)
  return new UnavailableError(
    `this peer has joined, but its first sync with ${inviter} did not come to an end (${why}); it goes on by itself, see "arctic cluster status"`,
    { peer: inviter },
    { cause }
  )
}
