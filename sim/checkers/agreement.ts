import { desiredFor } from '../../src/actors/reconcile/desired.ts'
import type { View } from '../../src/crdt/view.ts'
import type { Checker } from './checker.ts'

/** All members hold one document, see it alike, and their kernels have exactly what it asks of them. */
export const agreement: Checker = {
  name: 'agreement',
  about: 'equal heads, equal view and equal compiled rules on all members',
  atRest(world) {
    const unrest = world.unrest()
    if (unrest != null) world.violate('agreement', unrest)
    const up = world.up()
    const first = up[0]
    if (first == null) return
    const expected = contentOf(first.agent!.replica.view())
    for (const host of up) {
      const view = host.agent!.replica.view()
      if (contentOf(view) !== expected)
        world.violate('agreement', `${host.name} and ${first.name} see different things in one document`)
      if (host.kernel.rules !== host.kernel.compiled(desiredFor(host.id, view)).rules) {
        world.violate('agreement', `${host.name} has other rules in its kernel than its view asks for`)
      }
    }
  }
}

/** Everything that must be equal, in an order of its own. */
function contentOf({ cluster, members, services, routes, heads }: View): string {
  const sorted = (map: ReadonlyMap<string, unknown>): unknown[] => [...map].sort(([a], [b]) => (a < b ? -1 : 1))
  return JSON.stringify([cluster, sorted(members), sorted(services), sorted(routes), heads])
}
