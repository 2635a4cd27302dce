import type { NftObject } from './ruleset-objects.ts'
import { TABLE } from './ruleset.ts'

/**
 * Commands that make the table of some objects that of others, for one transaction: a change of one route among 10,000 is
 * one element, and counters go on counting. None when they are the same; null when only the whole table will do.
 *
 * What is new comes first, empty; then whatever refers to what goes is taken away; then rules and elements come in; what
 * nobody refers to any more goes last.
 */
export function changesOf(before: readonly NftObject[], after: readonly NftObject[]): string[] | null {
  const old = byName(before)
  const next = byName(after)
  const made: string[] = []
  const emptied: string[] = []
  const filled: string[] = []
  for (const object of after) {
    const was = old.get(keyOf(object))
    if (was == null) made.push(makeEmpty(object))
    if (object.kind === 'chain') {
      if (was?.kind === 'chain' && was.hook !== object.hook) return null
      if (was?.kind === 'chain' && sameLines(was.rules, object.rules)) continue
      if (was != null) emptied.push(`flush chain inet ${TABLE} ${object.name}`)
      for (const rule of object.rules) filled.push(`add rule inet ${TABLE} ${object.name} ${rule}`)
    } else if (object.kind !== 'counter') {
      const held = was?.kind === object.kind ? was : null
      if (held != null && held.type !== object.type) return null
      const there = new Set(held?.elements)
      const wanted = new Set(object.elements)
      const gone = [...there].filter((element) => !wanted.has(element)).map((element) => element.split(' : ')[0] ?? '')
      const more = [...wanted].filter((element) => !there.has(element))
      if (gone.length > 0) emptied.push(`delete element inet ${TABLE} ${object.name} { ${gone.join(', ')} }`)
      if (more.length > 0) filled.push(`add element inet ${TABLE} ${object.name} { ${more.join(', ')} }`)
    }
  }
  const gone = before.filter((object) => !next.has(keyOf(object)))
  for (const { kind, name } of gone) if (kind !== 'counter') emptied.push(`flush ${kind} inet ${TABLE} ${name}`)
  // Rules refer to maps and counters, elements to chains; all of them are empty by now.
  const removed = gone.toReversed().map(({ kind, name }) => `delete ${kind} inet ${TABLE} ${name}`)
  return [...made, ...emptied, ...filled, ...removed]
}

const keyOf = ({ kind, name }: NftObject): string => `${kind} ${name}`

const byName = (objects: readonly NftObject[]): Map<string, NftObject> =>
  new Map(objects.map((object) => [keyOf(object), object]))

const sameLines = (a: readonly string[], b: readonly string[]): boolean =>
  a.length === b.length && a.every((line, i) => line === b[i])

function makeEmpty(object: NftObject): string {
  const { kind, name } = object
  if (kind === 'counter') return `add counter inet ${TABLE} ${name}`
  if (kind === 'chain') return `add chain inet ${TABLE} ${name}${object.hook == null ? '' : ` { ${object.hook} }`}`
  return `add ${kind} inet ${TABLE} ${name} { type ${object.type}; }`
}
