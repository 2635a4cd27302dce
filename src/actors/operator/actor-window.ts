import type { PeerId } from '../../crdt/schema.ts'
import type { RulePreview } from '../../dataplane/preview.ts'
import { ForbiddenError, InvalidRequestError } from '../../errors.ts'
import type { ActorHandler, PeerActors } from '../../mesh/actor-protocol/actors.ts'
import { parseRemoteAddress } from '../runtime/address.ts'
import type { ActivityJson } from './activity.ts'
import { asActivity, asConnections, asDetail, asHistory, asSent, asTree, isUpdate } from './actor-answers.ts'
import type {
  ActorDetailJson,
  ActorSentJson,
  ActorUpdateJson,
  DeathNotice,
  SentEvent,
  TransitionJson
} from './actor-json.ts'
import type { ActorNouns } from './actors.ts'
import { CONNECTIONS, type ConnectionsJson } from './connections.ts'
import type { OperatorDeps } from './deps.ts'
import type { ActorJson, ActorOptions, SendOptions, WatchOptions } from './operator.ts'
import { resolvePeer } from './peer-ref.ts'
import { PREVIEW } from './preview.ts'

export interface ActorWindowParts {
  mesh: Pick<OperatorDeps['mesh'], 'self' | 'peers'> & { actors: Omit<PeerActors, 'serve'> }
  replica: Pick<OperatorDeps['replica'], 'view'>
  /** Of this agent. */
  activity: () => Promise<ActivityJson>
  connections: () => Promise<ConnectionsJson>
}

/**
 * The actors of any member: those that live here are asked at once, others over the mesh. A path may name the peer
 * itself, `actor://PEER/KIND:NAME`; what stands in it must agree with `peer`, if both are given.
 */
export class ActorWindow {
  readonly #nouns: ActorNouns
  readonly #parts: ActorWindowParts

  constructor(nouns: ActorNouns, parts: ActorWindowParts) {
    this.#nouns = nouns
    this.#parts = parts
  }

  async tree({ peer, signal }: ActorOptions = {}): Promise<ActorJson> {
    const there = this.#peer(peer)
    if (there == null) return this.#nouns.tree()
    return asTree(await this.#actors.ask(there, { what: 'tree', path: null }, options(signal)))
  }

  async activity({ peer, signal }: ActorOptions = {}): Promise<ActivityJson> {
    const there = this.#peer(peer)
    if (there == null) return this.#parts.activity()
    return asActivity(await this.#actors.ask(there, { what: 'activity', path: null }, options(signal)), there)
  }

  async connections({ peer, signal }: ActorOptions = {}): Promise<ConnectionsJson> {
    const there = this.#peer(peer)
    if (there == null) return this.#parts.connections()
    return asConnections(await this.#actors.ask(there, { what: CONNECTIONS, path: null }, options(signal)), there)
  }

  async inspect(text: string, { peer, signal }: ActorOptions = {}): Promise<ActorDetailJson> {
    const { there, path } = this.#at(text, peer)
    if (there == null) return this.#nouns.inspect(path)
    return asDetail(await this.#actors.ask(there, { what: 'inspect', path }, options(signal)), there)
  }

  async history(text: string, { peer, signal }: ActorOptions = {}): Promise<TransitionJson[]> {
    const { there, path } = this.#at(text, peer)
    if (there == null) return this.#nouns.history(path)
    return asHistory(await this.#actors.ask(there, { what: 'history', path }, options(signal)))
  }

  async send(text: string, event: SentEvent, { peer, signal, by }: SendOptions): Promise<ActorSentJson> {
    const { there, path } = this.#at(text, peer)
    if (there == null) return this.#nouns.send(path, event, { by })
    return asSent(await this.#actors.send(there, { path, event, by }, options(signal)))
  }

  async tell(text: string, event: SentEvent, { peer, signal, by }: SendOptions): Promise<void> {
    const { there, path } = this.#at(text, peer)
    if (there == null) await this.#nouns.send(path, event, { by })
    else await this.#actors.tell(there, { path, event, by }, options(signal))
  }

  async watch(
    text: string | null,
    listener: (update: ActorUpdateJson) => void,
    { peer, signal, onEnd }: WatchOptions = {}
  ): Promise<() => void> {
    const { there, path } = text == null ? { there: this.#peer(peer), path: null } : this.#at(text, peer)
    if (there == null) return this.#nouns.watch(path, listener)
    // An update of another version that says something else is left out; the next one may be understood.
    const onUpdate = (update: unknown): void => void (isUpdate(update) && listener(update))
    return this.#actors.watch(there, path, { onUpdate, onEnd: onEnd ?? (() => {}) }, options(signal))
  }

  async monitor(
    text: string,
    onEnd: (notice: DeathNotice) => void,
    { peer, signal }: ActorOptions = {}
  ): Promise<() => void> {
    const { there, path } = this.#at(text, peer)
    if (there == null) return this.#nouns.monitor(path, onEnd)
    return this.#actors.monitor(there, path, onEnd, options(signal))
  }

  get #actors(): ActorWindowParts['mesh']['actors'] {
    return this.#parts.mesh.actors
  }

  #at(text: string, peer: string | undefined): { there: PeerId | null; path: string } {
    const remote = parseRemoteAddress(text)
    const named = this.#peer(peer)
    if (remote == null) return { there: named, path: text }
    const there = this.#peer(remote.peer)
    if (peer != null && named !== there) {
      throw new InvalidRequestError(`"${text}" is not of peer "${peer}"; name the peer once`, { actor: text, peer })
    }
    return { there, path: remote.path }
  }

  /** Null for this very peer. */
  #peer(text: string | undefined): PeerId | null {
    if (text == null) return null
    const { mesh, replica } = this.#parts
    const peer = resolvePeer(text, replica.view(), mesh)
    return peer === mesh.self ? null : peer
  }
}

/** This agent's actors, as other members may use them, and what else they may ask of it. */
export function servedActors(
  nouns: ActorNouns,
  {
    activity,
    connections,
    preview
  }: Pick<ActorWindowParts, 'activity' | 'connections'> & { preview: (draft: unknown) => RulePreview }
): ActorHandler {
  return {
    ask(what, path, { of, role }) {
      if (what === 'tree') return nouns.tree()
      if (what === 'activity') return activity()
      if (what === PREVIEW) return preview(of)
      // What does not go through the mesh is not each member's to know.
      if (what === CONNECTIONS) {
        if (role === 'admin') return connections()
        const why = "only an admin is told what goes through other hosts; use that host's own agent"
        throw new ForbiddenError(why, { role })
      }
      if (what === 'inspect' && path != null) return nouns.inspect(path)
      if (what === 'history' && path != null) return nouns.history(path)
      throw new InvalidRequestError(`the agent there does not answer "${what}"; compare both agents' versions`)
    },
    send: (path, event, by) => nouns.send(path, event, { by }),
    watch: (path, listener) => nouns.watch(path, (update) => listener(update.path, update)),
    monitor: (path, onEnd) => nouns.monitor(path, onEnd)
  }
}

const options = (signal: AbortSignal | undefined): { signal?: AbortSignal } => (signal == null ? {} : { signal })
