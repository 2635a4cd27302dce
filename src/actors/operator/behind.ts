import { isoTime } from '../../clock.ts'
import type { PeerId } from '../../crdt/schema.ts'
import type { OperatorDeps } from './deps.ts'
import { nameOfPeer } from './peer-ref.ts'

/** How much of the history behind what this peer shows it has verified. */
export interface HistoryStateJson {
  /** `verifying`: this peer has joined with a snapshot, serves by it, and is verifying the history that it was made of. */
  state: 'verified' | 'verifying'
  /** Of the entries that the snapshot covers; null when all is verified. */
  verified: number | null
  entries: number | null
  /** The entry of the auth log by which the snapshot is believed, and who has signed it. */
  epoch: string | null
  signed_by: PeerId | null
  signed_by_name: string | null
  /** The history has shown that the snapshot was wrong; it was thrown away. Until the next start of the agent. */
  contradiction: {
    epoch: string | null
    signed_by: PeerId | null
    signed_by_name: string | null
    at: string
    message: string
  } | null
}

export function historyState({ replica }: OperatorDeps): HistoryStateJson {
  const name = (peer: PeerId | null): string | null => (peer == null ? null : nameOfPeer(peer, replica.view()))
  const [behind, wrong] = [replica.behind(), replica.contradiction()]
  return {
    state: behind == null ? 'verified' : 'verifying',
    verified: behind?.verified ?? null,
    entries: behind?.entries ?? null,
    epoch: behind?.epoch ?? null,
    signed_by: behind?.author ?? null,
    signed_by_name: name(behind?.author ?? null),
    contradiction:
      wrong == null
        ? null
        : {
            epoch: wrong.epoch,
            signed_by: wrong.author,
            signed_by_name: name(wrong.author),
            at: isoTime(wrong.at),
            message: wrong.message
          }
  }
}

/** What an operator must know of it, in sentences. */
export function historyWarnings(deps: OperatorDeps): string[] {
  const { state, verified, entries, signed_by, signed_by_name, contradiction } = historyState(deps)
  const warnings: string[] = []
  if (state === 'verifying') {
    const who = signed_by_name ?? signed_by ?? 'nobody any more'
    warnings.push(
      `serving by a snapshot that ${who} has signed; ${verified} of the ${entries} entries behind it are verified`
    )
  }
  if (contradiction != null) {
    const who = contradiction.signed_by_name ?? contradiction.signed_by ?? 'an admin'
    warnings.push(
      `the snapshot that ${who} has signed was wrong (${contradiction.message}) and was thrown away; find out why, and revoke that peer if it is not to be trusted`
    )
  }
  return warnings
}
