import { ArcticError, InvalidRequestError } from '../errors.ts'
import type { Cluster } from './cluster.ts'
import type { Entry } from './entries.ts'
import { changePrefixMin } from './limits.ts'

/** Something that may name a change: a part of a hash, long enough not to be a number or a date. */
export const isChangeName = (text: string): boolean => new RegExp(`^[0-9a-f]{${changePrefixMin},64}$`, 'i').test(text)

/** The change with this hash, or with a hash that begins so and no other does. `not_found`, InvalidRequestError. */
export function findChange(cluster: Cluster, text: string): Entry {
  if (!isChangeName(text)) {
    throw new InvalidRequestError(
      `"${text.slice(0, 70)}" names no change; give ${changePrefixMin} to 64 hex digits as "arctic cluster history" shows them`,
      { change: text }
    )
  }
  const start = text.toLowerCase()
  const found = cluster.durable().filter(({ hash }) => hash.startsWith(start))
  if (found[0] == null) {
    throw new ArcticError('not_found', `no change begins with "${text}"; see "arctic cluster history"`, {
      change: text
    })
  }
  if (found.length > 1) {
    throw new InvalidRequestError(`${found.length} changes begin with "${text}"; give more of it`, {
      change: text,
      matches: found.slice(0, 8).map(({ hash }) => hash)
    })
  }
  return found[0]
}
