import type { PeerId } from '../../crdt/schema.ts'
import type { OperatorDeps } from './deps.ts'

/** Members whose identity two agents bear at once, each with a sentence for an operator. */
export function copiedIdentities({
  mesh,
  replica
}: Pick<OperatorDeps, 'mesh' | 'replica'>): Array<{ id: PeerId; name: string | null; message: string }> {
  const nameOf = (id: PeerId): string | null => replica.view().members.get(id)?.name ?? null
  return mesh.twins().map(({ peer, saidBy }) => {
    const who = peer === mesh.self ? 'this peer' : `peer ${nameOf(peer) ?? peer}`
    const by = saidBy == null ? '' : ` (heard by ${nameOf(saidBy) ?? saidBy})`
    return {
      id: peer,
      name: nameOf(peer),
      message: `two agents run with the identity of ${who}${by}: its state directory was copied; stop one of them, give it an empty --state-dir and let it join anew`
    }
  })
}
