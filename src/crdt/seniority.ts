import type { PeerId } from './schema.ts'
import type { Signed } from './membership.ts'

/**
 * Who has been here longest, by the one thing that nobody can forge for itself: who let whom in. The founder is first,
 * then those it admitted, then those they admitted; within one generation the time and the hash of the admission decide,
 * which were written by somebody of the generation before. A peer that signs back-dated admissions of helpers only makes
 * them its juniors. Whether an admission counts has no part in it, so that it can be known before anything is decided.
 *
 * Returns a peer's place, from 0; whoever nobody admitted comes last.
 */
export function seniorityOf(founder: PeerId, entries: readonly Signed[]): (peer: PeerId) => number {
  const admissions = new Map<PeerId, Signed[]>()
  for (const signed of entries) {
    if (signed.entry.operation !== 'admit') continue
    const author = signed.envelope.authorId
    const list = admissions.get(author)
    if (list == null) admissions.set(author, [signed])
    else list.push(signed)
  }
  const places = new Map<PeerId, number>([[founder, 0]])
  for (let generation = [founder]; generation.length > 0;) {
    const next = new Set<PeerId>()
    const candidates = generation.flatMap((author) => admissions.get(author) ?? []).sort(byTimeAndHash)
    for (const { entry } of candidates) if (!places.has(entry.peer)) next.add(entry.peer)
    for (const peer of next) places.set(peer, places.size)
    generation = [...next]
  }
  return (peer) => places.get(peer) ?? Number.MAX_SAFE_INTEGER
}

function byTimeAndHash({ envelope: a }: Signed, { envelope: b }: Signed): number {
  return a.writtenAt - b.writtenAt || (a.hash < b.hash ? -1 : 1)
}
