/**
 * An actor's address is its id: `kind:name` (`service:01J…`), or the bare kind for a singleton (`netmgr`). The kind is
 * lower case; a name is anything but white space.
 */
export interface Address {
  kind: string
  /** null for a singleton. */
  name: string | null
}

const FORM = /^([a-z][a-z0-9-]*)(?::(\S+))?$/

export const addressOf = (kind: string, name: string): string => `${kind}:${name}`

/** null when the text is no address. */
export function parseAddress(text: string): Address | null {
  const match = FORM.exec(text)
  return match == null ? null : { kind: match[1]!, name: match[2] ?? null }
}

const REMOTE = /^actor:\/\/([^/\s]+)\/(\S+)$/

/** `actor://PEER/KIND:NAME`, an actor of another member; null for any other text. */
export function parseRemoteAddress(text: string): { peer: string; path: string } | null {
  const match = REMOTE.exec(text)
  return match == null ? null : { peer: match[1]!, path: match[2]! }
}

/** The kind of an address that this program made itself. */
export const kindOf = (address: string): string => parseAddress(address)?.kind ?? address
