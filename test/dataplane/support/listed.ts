import type { Namespace } from './namespace.ts'

/** The table as the kernel has it, but for what depends on how it came to be so: handles, and the order within sets. */
export function listed(ns: Namespace): unknown {
  const { nftables } = JSON.parse(ns.run('nft', '-s', '-j', 'list', 'table', 'inet', 'arctic')) as {
    nftables: Array<Record<string, { name?: string; chain?: string }>>
  }
  const order = (value: unknown): unknown => {
    if (typeof value !== 'object' || value == null) return value
    if (Array.isArray(value)) return value.map(order)
    return Object.fromEntries(
      Object.entries(value).flatMap(([key, inner]) => {
        if (key === 'handle' || key === 'packets' || key === 'bytes') return []
        const ordered = order(inner)
        const isSet = (key === 'set' || key === 'elem') && Array.isArray(ordered)
        return [[key, isSet ? ordered.map((one) => JSON.stringify(one)).toSorted() : ordered]]
      })
    )
  }
  const objects = nftables.flatMap((object) => {
    const [kind, fields] = Object.entries(object)[0] ?? []
    return kind === 'metainfo' || fields == null
      ? []
      : [{ of: `${kind} ${fields.chain ?? fields.name}`, is: order(object) }]
  })
  // Stable: rules stay in the order that they have in their chain.
  return objects.toSorted((a, b) => a.of.localeCompare(b.of))
}
