import { map, type NftObject } from './ruleset-objects.ts'

/**
 * The maps by which hooks send packets on. All have names, though each is asked in one place: a rule that goes takes its
 * anonymous map's elements with it at once, so a packet that still goes through the old rules finds nothing in it and passes by
 * (docs/decisions/0036). A named one stays, and always has its elements.
 */
export class VerdictMaps {
  readonly maps: NftObject[] = []

  /** A rule that asks a new map for `what`, of type `key`; none where nothing is in the map. */
  rule(what: string, name: string, key: string, elements: readonly string[]): string[] {
    if (elements.length === 0) return []
    this.maps.push(map(name, key, elements))
    return [`${what} vmap @${name}`]
  }
}
