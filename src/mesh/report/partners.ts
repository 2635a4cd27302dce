import type { PeerId } from '../../crdt/schema.ts'
import type { View } from '../../crdt/view.ts'

/** Who is the other endpoint of a service of `self`: those whose reports concern it. Answers for a view are kept. */
export const partners = (self: PeerId): ((view: View) => ReadonlySet<PeerId>) =>
  memoized((view) => partnersOf(view, self))

function partnersOf(view: View, self: PeerId): ReadonlySet<PeerId> {
  const partners = new Set<PeerId>()
  for (const { source_peer_id: source, target_peer_id: target } of view.services.values()) {
    if (source === self) partners.add(target)
    else if (target === self) partners.add(source)
  }
  partners.delete(self)
  return partners
}

/** Keeps the answers for the last two views: the present one and the one before. */
function memoized<T>(compute: (view: View) => T): (view: View) => T {
  let kept: Array<{ view: View; value: T }> = []
  return (view) => {
    const held = kept.find((one) => one.view === view)
    if (held != null) return held.value
    const value = compute(view)
    kept = [{ view, value }, ...kept.slice(0, 1)]
    return value
  }
}
