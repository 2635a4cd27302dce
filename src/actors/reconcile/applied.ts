import type { ServiceId } from '../../crdt/schema.ts'
import { SortedMap } from '../../crdt/sorted-map.ts'
import type { AppliedService, AppliedState } from '../../dataplane/desired.ts'

/**
 * The services about which two answers of the data plane differ; null when that may be all of them. Both list mostly the
 * same services in the same order, so they are walked side by side, without a look-up for each.
 */
export function appliedDifferences(before: AppliedState | null, after: AppliedState): ServiceId[] | null {
  if (before == null || before.failure != null || after.failure != null) return null
  if (before.services === after.services) return []
  if (before.services instanceof SortedMap && after.services instanceof SortedMap) {
    const differences = (after.services as SortedMap<AppliedService>).differences(before.services)
    return [...differences].filter(([, now, was]) => now == null || was == null || !same(now, was)).map(([id]) => id)
  }
  const found: ServiceId[] = []
  const old = before.services.entries()
  let next = old.next()
  for (const [id, service] of after.services) {
    let known: AppliedService | undefined
    if (next.done !== true && next.value[0] === id) {
      known = next.value[1]
      next = old.next()
    } else {
      known = before.services.get(id)
      // What was taken out between the two is passed over.
      while (next.done !== true && !after.services.has(next.value[0])) next = old.next()
      if (next.done !== true && next.value[0] === id) next = old.next()
    }
    if (known == null || !same(known, service)) found.push(id)
  }
  if (after.services.size < before.services.size + found.length) {
    for (const id of before.services.keys()) if (!after.services.has(id)) found.push(id)
  }
  return found
}

function same(a: AppliedService, b: AppliedService): boolean {
  if (a === b) return true
  if (a.spec !== b.spec || a.effectiveTransport !== b.effectiveTransport) return false
  // Rare enough that comparing texts costs nothing.
  return (
    sameJson(a.failure, b.failure) &&
    sameJson(a.interface, b.interface) &&
    (a.warnings.length === 0 ? b.warnings.length === 0 : sameJson(a.warnings, b.warnings))
  )
}

const sameJson = (a: unknown, b: unknown): boolean =>
  a === b || (a != null && b != null && JSON.stringify(a) === JSON.stringify(b))
