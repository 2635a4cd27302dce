import type { NftObject } from './ruleset-objects.ts'
import { TABLE, type Ruleset } from './ruleset.ts'
import { splicesOf } from './splices.ts'

/**
 * Commands that make the table of some objects that of others, for one transaction: a change of one route among 10,000 is
 * one element, and counters go on counting. None when they are the same; null when only the whole table will do.
 *
 * What is new comes first, empty; then whatever refers to what goes is taken away; then rules and elements come in; what
 * nobody refers to any more goes last.
 */
export const changesOf = (before: readonly NftObject[], after: readonly NftObject[]): string[] | null =>
  changesOfParts([before], [after])

/** The same of rulesets in as many parts, of which no object ever leaves its own. */
export function changesOfParts(before: Ruleset, after: Ruleset): string[] | null {
  const parts = after.flatMap((part, i) => (part === before[i] ? [] : [compare(before[i] ?? [], part)]))
  const pairs = parts.flatMap(({ pairs: own }) => own)
  const gone = parts.flatMap(({ gone: own }) => own)
  const made: string[] = []
  const emptied: string[] = []
  const filled: string[] = []
  for (const [was, object] of pairs) {
    if (was == null) made.push(makeEmpty(object))
    if (object.kind === 'chain') {
      if (was?.kind === 'chain' && was.hook !== object.hook) return null
      if (was?.kind === 'chain' && sameLines(was.rules, object.rules)) continue
      if (was != null) emptied.push(`flush chain inet ${TABLE} ${object.name}`)
      for (const rule of object.rules) filled.push(`add rule inet ${TABLE} ${object.name} ${rule}`)
    } else if (object.kind !== 'counter') {
      const held = was?.kind === object.kind ? was : null
      if (held != null && held.declared !== object.declared) return null
      const { less, more } = differences(held?.elements ?? [], object.elements)
      const keys = less.map((element) => element.split(' : ')[0] ?? '')
      if (keys.length > 0) emptied.push(`delete element inet ${TABLE} ${object.name} { ${keys.join(', ')} }`)
      if (more.length > 0) filled.push(`add element inet ${TABLE} ${object.name} { ${more.join(', ')} }`)
    }
  }
  for (const { kind, name } of gone) if (kind !== 'counter') emptied.push(`flush ${kind} inet ${TABLE} ${name}`)
  // Rules refer to maps and counters, elements to chains; all of them are empty by now.
  const removed = gone.toReversed().map(({ kind, name }) => `delete ${kind} inet ${TABLE} ${name}`)
  return [...made, ...emptied, ...filled, ...removed]
}

/**
 * Each object of `after` that is another one with the one of `before` that bears its name, and those that are gone. Both
 * lists are mostly the same in the same order, so they are walked side by side, and looked up in only where they differ.
 */
function compare(
  before: readonly NftObject[],
  after: readonly NftObject[]
): { pairs: Array<[was: NftObject | null, object: NftObject]>; gone: NftObject[] } {
  let places: Map<string, number> | null = null
  const placeOf = (object: NftObject): number => {
    places ??= new Map(before.map((one, i) => [keyOf(one), i]))
    return places.get(keyOf(object)) ?? -1
  }
  const there = new Uint8Array(before.length)
  let next = 0
  const pairs: Array<[was: NftObject | null, object: NftObject]> = []
  for (const object of after) {
    const expected = before[next]
    const isNext = expected === object || (expected?.kind === object.kind && expected.name === object.name)
    const at = isNext ? next : placeOf(object)
    const was = at < 0 ? null : (before[at] as NftObject)
    if (was !== object) pairs.push([was, object])
    if (at < 0) continue
    there[at] = 1
    next = at + 1
  }
  return { pairs, gone: before.filter((_, i) => there[i] === 0) }
}

/** What only one of the two has, whatever their order. */
function differences(before: readonly string[], after: readonly string[]): { less: string[]; more: string[] } {
  const less = new Set<string>()
  const more: string[] = []
  const splices = splicesOf(before, after)
  for (const { removed } of splices) for (const element of removed) less.add(element)
  for (const { inserted } of splices) for (const element of inserted) if (!less.delete(element)) more.push(element)
  return { less: [...less], more }
}

const keyOf = ({ kind, name }: NftObject): string => `${kind} ${name}`

const sameLines = (a: readonly string[], b: readonly string[]): boolean =>
  a.length === b.length && a.every((line, i) => line === b[i])

function makeEmpty(object: NftObject): string {
  const { kind, name } = object
  if (kind === 'counter') return `add counter inet ${TABLE} ${name}`
  if (kind === 'chain') return `add chain inet ${TABLE} ${name}${object.hook == null ? '' : ` { ${object.hook} }`}`
  return `add ${kind} inet ${TABLE} ${name} { ${object.declared}; }`
}
