import type { OperatorDeps } from './deps.ts'
import { peerJson } from './json.ts'
import type { PeerJson } from './operator.ts'
import { resolvePeer } from './peer-ref.ts'

/** What an operator can ask of peers. Works without a cluster too: then there are only strangers, and this peer. */
export class PeerNouns {
  readonly #deps: OperatorDeps

  constructor(deps: OperatorDeps) {
    this.#deps = deps
  }

  /** Members; with `all` also who was merely seen. By name, then id. */
  async list({ all = false }: { all?: boolean }): Promise<PeerJson[]> {
    const { replica, mesh, reconciler } = this.#deps
    await reconciler.counters.fresh()
    const ids = new Set(replica.view().members.keys())
    if (all) for (const { id } of mesh.peers()) ids.add(id)
    return [...ids].map((id) => this.#json(id)).sort(byName)
  }

  async get(peer: string): Promise<PeerJson> {
    const { replica, mesh, reconciler } = this.#deps
    const id = resolvePeer(peer, replica.view(), mesh)
    await reconciler.counters.fresh()
    return this.#json(id)
  }

  #json(id: string): PeerJson {
    const { replica, mesh, reconciler } = this.#deps
    return peerJson(id, replica.view().members.get(id), mesh.peer(id), reconciler.counters.tunnelsOf(id))
  }
}

const byName = (a: PeerJson, b: PeerJson): number => {
  const [x, y] = [`${a.name ?? '\uffff'} ${a.id}`, `${b.name ?? '\uffff'} ${b.id}`]
  return x < y ? -1 : x > y ? 1 : 0
}
