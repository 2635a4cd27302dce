import type { Counter } from './ruleset.ts'

/** What table `inet arctic` is made of, in an order in which each names only what stands before it or is a chain. */
export type NftObject = NftCounter | NftSet | NftChain

interface NftCounter {
  kind: 'counter'
  name: string
}

/** A map's elements are `KEY : VERDICT`. `declared`: `type …` or `typeof …`, of a map with what it leads to. */
interface NftSet {
  kind: 'set' | 'map'
  name: string
  declared: string
  elements: readonly string[]
}

interface NftChain {
  kind: 'chain'
  name: string
  /** Where it is hooked in: `type … hook … priority …; policy …;`. */
  hook: string | null
  rules: readonly string[]
}

/** As it stands in a file, counters with their last values. */
export function objectText(object: NftObject, counters: ReadonlyMap<string, Counter>): string {
  if (object.kind === 'counter') {
    const { packets, bytes } = counters.get(object.name) ?? { packets: 0, bytes: 0 }
    return `counter ${object.name} { packets ${packets} bytes ${bytes}\n}`
  }
  if (object.kind === 'chain') {
    const lines = [...(object.hook == null ? [] : [object.hook]), ...object.rules]
    return `chain ${object.name} {\n${lines.map((line) => ` ${line}\n`).join('')}}`
  }
  const elements = object.elements.length === 0 ? '' : ` elements = { ${object.elements.join(', ')} }\n`
  return `${object.kind} ${object.name} {\n ${object.declared}\n${elements}}`
}

export const chain = (name: string, rules: readonly string[]): NftChain => ({ kind: 'chain', name, hook: null, rules })

export const set = (name: string, key: string, elements: readonly string[]): NftSet => ({
  kind: 'set',
  name,
  declared: declared(key),
  elements
})

export const map = (name: string, key: string, elements: readonly string[]): NftSet => ({
  kind: 'map',
  name,
  declared: `${declared(key)} : verdict`,
  elements
})

/** A key is named by its type, or as the expression that it is of where nft has no name for its type. */
const declared = (key: string): string => `${key === 'ct zone' ? 'typeof' : 'type'} ${key}`
