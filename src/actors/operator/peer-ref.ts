import type { PeerId } from '../../crdt/schema.ts'
import { strangerState, type View } from '../../crdt/view.ts'
import { InvalidRequestError, PeerNotFoundError, TargetPeerNotAdmittedError } from '../../errors.ts'
import type { Mesh } from '../../mesh/mesh.ts'

/**
 * The peer that `text` names: by id, by name, or by a prefix of the id that only one peer has. Members, those that were
 * members, and strangers that were seen alike; a member's name goes before that of one that is gone. PeerNotFoundError; InvalidRequestError with the matches when more than one fits.
 */
export function resolvePeer(text: string, view: View, mesh: Pick<Mesh, 'peers'>): PeerId {
  const departed = [...(view.departed?.values() ?? [])]
  const known = new Set<PeerId>([...view.members.keys(), ...departed.map(({ id }) => id)])
  for (const { id } of mesh.peers()) known.add(id)
  if (known.has(text)) return text
  const withName = (peers: Iterable<{ id: PeerId; name: string }>): PeerId[] =>
    [...peers].filter(({ name }) => name === text).map(({ id }) => id)
  const members = withName(view.members.values())
  const named = members.length > 0 ? members : withName(departed)
  if (named.length === 1) return named[0]!
  const matches = named.length > 0 ? named : text === '' ? [] : [...known].filter((id) => id.startsWith(text)).sort()
  if (matches.length === 1) return matches[0]!
  if (matches.length === 0) throw new PeerNotFoundError(text)
  const shown = matches.slice(0, MATCHES_SHOWN).map((id) => describe(id, view))
  const more = matches.length > MATCHES_SHOWN ? ` and ${matches.length - MATCHES_SHOWN} more` : ''
  throw new InvalidRequestError(
    `"${text}" could mean ${matches.length} peers: ${shown.join(', ')}${more}; give more of the id, or the name`,
    { peer: text, matches: matches.slice(0, MATCHES_SHOWN) }
  )
}

const MATCHES_SHOWN = 8

/** Of a member, or of one that was; null for a stranger. */
export const nameOfPeer = (id: PeerId, view: View): string | null =>
  view.members.get(id)?.name ?? view.departed?.get(id)?.name ?? null

const describe = (id: PeerId, view: View): string => {
  const name = nameOfPeer(id, view)
  return name == null ? id : `${id} (${name})`
}

/** The same for a service's target, which has to be a member: TargetPeerNotAdmittedError. */
export function resolveTarget(text: string, view: View, mesh: Pick<Mesh, 'peers'>): PeerId {
  const id = resolvePeer(text, view, mesh)
  if (!view.members.has(id)) throw new TargetPeerNotAdmittedError(text, strangerState(id, view))
  return id
}

/** The same for a service's source, which has to be a member too. */
export function resolveSource(text: string, view: View, mesh: Pick<Mesh, 'peers'>): PeerId {
  const id = resolvePeer(text, view, mesh)
  if (view.members.has(id)) return id
  const state = strangerState(id, view)
  throw new InvalidRequestError(`source peer "${text}" is ${state}, not admitted; only members carry traffic`, {
    peer: text,
    state
  })
}
