import type { FieldValue, Kind } from './document.ts'
import type { Intent } from './intent.ts'
import type { Entry } from './entries.ts'
import type { PeerId } from './schema.ts'

/** What a peer writes again, because it fell out together with what it was built on. */
export interface Reissue {
  puts: Array<{ kind: Kind; id: string; fields: Record<string, FieldValue> }>
  removals: Array<{ kind: Kind; id: string }>
  /** Something of this peer's belongs to a record that another one has to write again first. */
  waiting: boolean
}

/**
 * A change that builds on an invalid one is invalid too, although its author did nothing wrong. What such changes wanted
 * and nobody has wanted otherwise since is written again:
 *
 * 1. A record that was made so: by who made it, whole, as all honest authors together had it.
 * 2. A field of a record that is there: by who had written it last.
 * 3. A removal: by who had removed it.
 *
 * `entries` in the order of the log; `isLost` says which changes fell out for what they build on alone.
 */
export function reissueOf(parts: {
  self: PeerId
  entries: Iterable<Entry>
  isLost: (entry: Entry) => boolean
  intentsOf: (entry: Entry) => Intent[]
  exists: (kind: Kind, id: string) => boolean
}): Reissue {
  const { self, exists } = parts
  const reissue: Reissue = { puts: [], removals: [], waiting: false }
  for (const { kind, id, maker, remover, fields } of wishes(parts)) {
    const there = exists(kind, id)
    if (remover != null) {
      if (remover === self && there) reissue.removals.push({ kind, id })
      continue
    }
    const mine = [...fields].filter(([, { by }]) => by === self || (!there && maker === self))
    if (mine.length === 0) continue
    if (there || maker === self) {
      const values = mine.map(([field, { value }]) => [field, value] as const)
      reissue.puts.push({ kind, id, fields: Object.fromEntries(values) })
    } else if (maker != null) reissue.waiting = true
  }
  return reissue
}

interface Wish {
  kind: Kind
  id: string
  maker: PeerId | null
  remover: PeerId | null
  fields: Map<string, { by: PeerId; value: FieldValue }>
}

function wishes({ entries, isLost, intentsOf, self }: Parameters<typeof reissueOf>[0]): Iterable<Wish> {
  const found = new Map<string, Wish>()
  for (const entry of entries) {
    if (entry.kind !== 'change') continue
    const lost = isLost(entry)
    if (!lost && (!entry.valid || !entry.touches.some(({ kind, id }) => found.has(`${kind}/${id}`)))) continue
    for (const intent of intentsOf(entry)) {
      const key = `${intent.kind}/${intent.id}`
      if (lost) lose(found, key, intent, entry.authorId)
      else settle(found, key, intent, self)
    }
  }
  return found.values()
}

function lose(found: Map<string, Wish>, key: string, intent: Intent, by: PeerId): void {
  const { kind, id, removed, made, fields } = intent
  let wish = found.get(key)
  if (wish == null) found.set(key, (wish = { kind, id, maker: null, remover: null, fields: new Map() }))
  if (removed) {
    wish.remover = by
    wish.maker = null
    wish.fields.clear()
    return
  }
  if (made) {
    wish.maker = by
    wish.remover = null
  }
  for (const [field, value] of fields) wish.fields.set(field, { by, value })
}

/** A valid change has had its say on a record since. */
function settle(found: Map<string, Wish>, key: string, { removed, made, fields }: Intent, self: PeerId): void {
  const wish = found.get(key)
  if (wish == null) return
  if (removed) {
    found.delete(key)
    return
  }
  wish.remover = null
  if (made) wish.maker = null
  for (const [field, value] of fields) {
    const lost = wish.fields.get(field)
    // Who made the record again may not have known what this peer had written into it.
    if (made && lost?.by === self && JSON.stringify(lost.value) !== JSON.stringify(value)) continue
    wish.fields.delete(field)
  }
  if (wish.fields.size === 0) found.delete(key)
}
