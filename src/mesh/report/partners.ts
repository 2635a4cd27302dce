import { changesOf } from '../../crdt/diff.ts'
import type { PeerId, ServiceRecord } from '../../crdt/schema.ts'
import type { View } from '../../crdt/view.ts'

interface Counted {
  services: View['services']
  /** Services of `self` by their other end. */
  counts: ReadonlyMap<PeerId, number>
  partners: ReadonlySet<PeerId>
}

/**
 * Who is the other endpoint of a service of `self`: those whose reports concern it. The answers for the last two views
 * are kept, and the next one is made of them by what changed.
 */
export function partners(self: PeerId): (view: View) => ReadonlySet<PeerId> {
  let kept: Counted[] = [{ services: new Map(), counts: new Map(), partners: new Set() }]
  return ({ services }) => {
    const held = kept.find((one) => one.services === services)
    if (held != null) return held.partners
    const next = counted(kept[0]!, services, self)
    kept = [next, ...kept.slice(0, 1)]
    return next.partners
  }
}

function counted(base: Counted, services: View['services'], self: PeerId): Counted {
  const counts = new Map(base.counts)
  const count = ({ source_peer_id: source, target_peer_id: target }: ServiceRecord, by: 1 | -1): void => {
    const other = source === self ? target : target === self ? source : self
    if (other !== self) counts.set(other, (counts.get(other) ?? 0) + by)
  }
  const { added, removed, changed } = changesOf(base.services, services)
  for (const service of added) count(service, 1)
  for (const service of removed) count(service, -1)
  for (const { before, after } of changed) {
    count(before, -1)
    count(after, 1)
  }
  const partners = new Set([...counts].flatMap(([peer, services]) => (services > 0 ? [peer] : [])))
  return { services, counts, partners }
}
