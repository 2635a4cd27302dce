import type { NftObject } from './ruleset-objects.ts'
import { bodyText, TABLE, type Counter } from './ruleset.ts'

/**
 * A table that is there, made the wanted one without being replaced. A packet goes on with the rules with which it began but
 * finds sets as they are at that moment, so a set must not go while somebody asks it (docs/decisions/0036).
 *
 * 1. What is wanted and there with the same declaration stays: chains and sets are emptied, counters go on counting.
 * 2. All rules and elements come in, and what was missing.
 * 3. What nobody wants is deleted; nothing refers to it by now.
 *
 * All of it is one transaction. Null when this cannot be done, and the table is to be replaced: something in it bears a wanted
 * name and is of another sort (an older build's), or its listing is not understood.
 */
export function refillText(listing: string, objects: readonly NftObject[]): string | null {
  const there = declarations(listing)
  if (there == null) return null
  const wanted = new Map(objects.map((object) => [placeOf(object), declarationOf(object)]))
  const emptied: string[] = []
  const gone: string[] = []
  for (const [place, { kind, name, declaration }] of there) {
    const expected = wanted.get(place)
    if (expected != null && expected !== declaration) return null
    if (kind === 'set' || kind === 'map') emptied.push(`flush ${kind} inet ${TABLE} ${name}\n`)
    if (expected == null) gone.push(`delete ${kind} inet ${TABLE} ${name}\n`)
  }
  // A counter that is there would be left as it is by most kernels; nothing is said of it to any.
  const filled = objects.filter((object) => object.kind !== 'counter' || !there.has(placeOf(object)))
  return [`flush table inet ${TABLE}\n`, ...emptied, bodyText(filled, NO_VALUES), ...gone].join('')
}

/**
 * What has to come before: an older build's rules ask maps without names, which go with the rules while packets still ask
 * them. Here those rules stay, but behind the wanted ones, which nobody passes: what comes from now on follows these, and once
 * nobody is on the way any more, the table can be filled anew. Null when there are none, or the table is to be replaced.
 */
export function overlayText(listing: string, objects: readonly NftObject[]): string | null {
  const there = declarations(listing)
  if (there == null || !NAMELESS_MAP.test(listing)) return null
  const emptied: string[] = []
  const before: string[] = []
  const filled: NftObject[] = []
  for (const object of objects) {
    const declaration = there.get(placeOf(object))?.declaration
    if (declaration == null) {
      filled.push(object)
      continue
    }
    if (declaration !== declarationOf(object)) return null
    if (object.kind === 'set' || object.kind === 'map') {
      emptied.push(`flush ${object.kind} inet ${TABLE} ${object.name}\n`)
      filled.push(object)
    }
    if (object.kind !== 'chain') continue
    // Each goes to the front, so the last one comes first.
    for (const rule of [...object.rules, 'return'].reverse())
      before.push(`insert rule inet ${TABLE} ${object.name} ${rule}\n`)
  }
  return [...emptied, bodyText(filled, NO_VALUES), ...before].join('')
}

const NAMELESS_MAP = /\bv?map \{/

const NO_VALUES: ReadonlyMap<string, Counter> = new Map()

interface Declared {
  kind: NftObject['kind']
  name: string
  /** Objects with the same one may take each other's place. */
  declaration: string
}

/** Sets and maps share their names, which those of chains and counters may bear as well. */
const placeOf = ({ kind, name }: Pick<NftObject, 'kind' | 'name'>): string => `${kind === 'map' ? 'set' : kind} ${name}`

function declarationOf(object: NftObject): string {
  if (object.kind === 'counter') return 'counter'
  if (object.kind === 'chain') return object.hook == null ? 'chain' : hookOf(object.hook)
  return `${object.kind} ${object.declared}`
}

/**
 * The objects that `nft list table` tells of. Null when anything else is told, as a flag of the table or an object of another
 * sort.
 */
function declarations(listing: string): Map<string, Declared> | null {
  const lines = listing.split('\n')
  if (lines[0] !== `table inet ${TABLE} {` || lines.at(-1) !== '}') return null
  const found = new Map<string, Declared>()
  for (let i = 1; i < lines.length - 1; i++) {
    const line = lines[i] as string
    if (line === '') continue
    const head = /^\t(chain|set|map|counter) ([A-Za-z0-9_-]+) \{$/.exec(line)
    const end = lines.indexOf('\t}', i + 1)
    if (head == null || end < 0) return null
    const [kind, name] = [head[1] as NftObject['kind'], head[2] as string]
    const declared = { kind, name, declaration: declarationIn(kind, lines.slice(i + 1, end)) }
    found.set(placeOf(declared), declared)
    i = end
  }
  return found
}

/** What the lines of an object declare, which its rules and elements do not. */
function declarationIn(kind: NftObject['kind'], lines: readonly string[]): string {
  if (kind === 'counter') return 'counter'
  if (kind === 'chain') {
    const declares = lines.filter((line) => /^\t\t(type|comment) /.test(line))
    return declares.length === 0 ? 'chain' : hookOf(declares.join('').trim())
  }
  const elements = lines.findIndex((line) => line.startsWith('\t\telements = {'))
  const declares = elements < 0 ? lines : lines.slice(0, elements)
  return `${kind} ${declares.map((line) => line.trim()).join(' ')}`
}

/** nft writes the name of a hook's priority where it has one, as people do. */
const PRIORITIES: Readonly<Record<string, string>> = {
  raw: '-300',
  mangle: '-150',
  dstnat: '-100',
  filter: '0',
  security: '50',
  srcnat: '100'
}

const hookOf = (text: string): string =>
  `chain ${text.replace(/priority (\w+);/, (_, name: string) => `priority ${PRIORITIES[name] ?? name};`)}`
