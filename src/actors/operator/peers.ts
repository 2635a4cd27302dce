import { strangerState } from '../../crdt/view.ts'
import { InvalidRequestError, NameTakenError } from '../../errors.ts'
import { clusterView, type OperatorDeps } from './deps.ts'
import { departureJson, peerJson } from './json.ts'
import type { PeerJson, PeerPatch } from './operator.ts'
import { keysOfPeers, refreshKeys } from './peer-keys.ts'
import { nameOfPeer, resolvePeer } from './peer-ref.ts'

/** What an operator can ask of peers. Looking works without a cluster too: then there are only strangers, and this peer. */
export class PeerNouns {
  readonly #deps: OperatorDeps

  constructor(deps: OperatorDeps) {
    this.#deps = deps
  }

  /** Members; with `all` also who was one, and who was merely seen. By name, then id. */
  async list({ all = false }: { all?: boolean }): Promise<PeerJson[]> {
    const { replica, mesh, reconciler } = this.#deps
    await reconciler.counters.fresh()
    const { members, departed } = replica.view()
    const ids = new Set(members.keys())
    if (all) {
      for (const id of departed?.keys() ?? []) ids.add(id)
      for (const { id } of mesh.peers()) ids.add(id)
    }
    const keys = keysOfPeers(this.#deps)
    return [...ids].map((id) => this.#json(id, keys(id))).sort(byName)
  }

  async get(peer: string): Promise<PeerJson> {
    const { replica, mesh, reconciler } = this.#deps
    const id = resolvePeer(peer, replica.view(), mesh)
    await reconciler.counters.fresh()
    // Keys change seldom; then who has them is worth asking for.
    if (replica.view().members.get(id)?.record?.keys_before != null) await refreshKeys(this.#deps, id)
    return this.#json(id)
  }

  async update(peer: string, { name, role }: PeerPatch): Promise<PeerJson> {
    const { replica, mesh, reconciler } = this.#deps
    if (name == null && role == null) throw new InvalidRequestError('nothing to change is given; give name or role')
    const view = clusterView(this.#deps)
    const id = resolvePeer(peer, view, mesh)
    // Both or neither, as far as can be told beforehand.
    const isTaken = [...view.members.values()].some((member) => member.name === name && member.id !== id)
    if (name != null && isTaken) throw new NameTakenError('peer', name)
    if (role != null) await replica.setRole(id, role)
    if (name != null) await replica.renamePeer(id, name)
    reconciler.flush()
    return this.#json(id)
  }

  async revoke(peer: string): Promise<void> {
    const { replica, mesh, reconciler } = this.#deps
    await replica.revoke(resolvePeer(peer, clusterView(this.#deps), mesh))
    reconciler.flush()
  }

  #json(id: string, keys = keysOfPeers(this.#deps)(id)): PeerJson {
    const { replica, mesh, reconciler } = this.#deps
    const view = replica.view()
    const departed = view.departed?.get(id)
    const confirmed = reconciler.exclusions.confirmedBy(id)
    const knows = (member: string): boolean => member === mesh.self || confirmed.has(member)
    return peerJson(
      id,
      {
        member: view.members.get(id),
        departure: departed == null ? null : departureJson(departed, view, knows),
        keys,
        presence: mesh.peer(id),
        stranger: strangerState(id, view),
        tunnels: reconciler.counters.tunnelsOf(id)
      },
      nameOfPeer(id, view)
    )
  }
}

type Named = Pick<PeerJson, 'id' | 'name'>

export const byName = (a: Named, b: Named): number => {
  const [x, y] = [`${a.name ?? '\uffff'} ${a.id}`, `${b.name ?? '\uffff'} ${b.id}`]
  return x < y ? -1 : x > y ? 1 : 0
}
