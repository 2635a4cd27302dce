import type { DesiredPeer, HostKeys } from './desired.ts'
import type { EngineName } from './engine-protocol.ts'

/** What an engine is told of a peer's keys, and of which of ours that peer knows (engines/PROTOCOL.md). */
export interface PeerKeys {
  public_key: string
  public_key_before?: string
  use_key_before?: true
}

/** Said only where keys are being changed, so that an engine that knows of no change understands all else. */
export const peerKeys = (
  engine: EngineName,
  { id, pegasusKey, tempestKey, keysBefore }: DesiredPeer,
  { before, known }: Pick<HostKeys, 'before' | 'known'>
): PeerKeys => ({
  public_key: engine === 'pegasus' ? pegasusKey : tempestKey,
  ...(keysBefore == null ? {} : { public_key_before: keysBefore[engine] }),
  ...(before == null || known.has(id) ? {} : { use_key_before: true as const })
})
