import { isUlid } from '../../crdt/ids.ts'
import type { HistoryEntry, HistoryObject } from '../../crdt/history.ts'
import type { View } from '../../crdt/view.ts'
import { ArcticError, InvalidRequestError, PeerNotFoundError, ServiceNotFoundError } from '../../errors.ts'
import { historyLimitDefault, historyLimitMax } from '../limits.ts'
import { clusterView, type OperatorDeps } from './deps.ts'
import type { ChangedObjectJson, ChangeJson, EpochJson, HistoryQuery, VerificationJson } from './history-json.ts'
import { nameOfPeer, resolvePeer } from './peer-ref.ts'
import { findService } from './service-ref.ts'
import { readTime } from './time.ts'

/** What was changed in the cluster, by whom and when. */
export class HistoryNouns {
  readonly #deps: OperatorDeps

  constructor(deps: OperatorDeps) {
    this.#deps = deps
  }

  /** Newest first. */
  async list(query: HistoryQuery): Promise<ChangeJson[]> {
    const { replica, mesh } = this.#deps
    const view = clusterView(this.#deps)
    const { limit = historyLimitDefault } = query
    if (!Number.isInteger(limit) || limit < 1 || limit > historyLimitMax) {
      throw new InvalidRequestError(`limit must be a whole number from 1 to ${historyLimitMax}`, { field: 'limit' })
    }
    const object = await this.#object(query, view)
    const entries = await replica.history({
      limit,
      ...(object == null ? {} : { object }),
      ...(query.author == null ? {} : { author: resolvePeer(query.author, view, mesh) }),
      ...(query.since == null ? {} : { since: readTime('since', query.since) }),
      ...(query.until == null ? {} : { until: readTime('until', query.until) })
    })
    const now = replica.view()
    return entries.map((entry) => changeJson(entry, now))
  }

  async epoch(): Promise<EpochJson> {
    clusterView(this.#deps)
    const { replica } = this.#deps
    const { id, at, author, objects } = await replica.signEpoch()
    const fields = objects[0]?.fields
    return {
      id,
      at,
      author,
      author_name: nameOfPeer(author, replica.view()),
      entries: Number(fields?.['entries']?.after),
      bytes: Number(fields?.['bytes']?.after),
      digest: String(fields?.['digest']?.after)
    }
  }

  /** Everything that is held, once more from the genesis on. */
  async verify(): Promise<VerificationJson> {
    const { replica } = this.#deps
    const { cluster } = clusterView(this.#deps)
    const { flaw, founder, foundedAt, verified, changes, authEntries, invalid, authors, bytes } = await replica.verify()
    const name = flaw?.author == null ? null : nameOfPeer(flaw.author, replica.view())
    return {
      ok: flaw == null,
      cluster_id: cluster.id,
      founder,
      founded_at: foundedAt,
      verified,
      changes,
      auth_entries: authEntries,
      invalid,
      authors,
      bytes,
      flaw: flaw == null ? null : { ...flaw, author_name: name }
    }
  }

  /** The id of what is asked for; what is gone is known by its id alone. */
  async #object({ service, object }: HistoryQuery, view: View): Promise<string | null> {
    if (service != null && object != null) {
      throw new InvalidRequestError('service and object say the same; give one of them', { field: 'object' })
    }
    if (service != null) {
      return this.#gone(service, () => findService(service, view).id)
    }
    if (object == null) return null
    const route = view.routes.get(object.toUpperCase())
    if (route != null) return route.id
    return this.#gone(object, () => findObject(object, view, this.#deps))
  }

  async #gone(text: string, find: () => string): Promise<string> {
    try {
      return find()
    } catch (error) {
      const id = text.toUpperCase()
      const isMissing = error instanceof ArcticError && error.status === 404
      if (!isMissing || !isUlid(id) || (await this.#deps.replica.history({ object: id, limit: 1 })).length === 0) {
        throw error
      }
      return id
    }
  }
}

function findObject(text: string, view: View, { mesh }: OperatorDeps): string {
  try {
    return findService(text, view).id
  } catch (error) {
    if (!(error instanceof ServiceNotFoundError)) throw error
  }
  try {
    return resolvePeer(text, view, mesh)
  } catch (error) {
    if (!(error instanceof PeerNotFoundError)) throw error
    throw new ArcticError(
      'not_found',
      `nothing here is or was "${text}"; give the id of a service or route, or a name or peer`,
      { object: text }
    )
  }
}

export const changeJson = (entry: HistoryEntry, view: View): ChangeJson => ({
  id: entry.id,
  at: entry.at,
  author: entry.author,
  author_name: nameOfPeer(entry.author, view),
  via: entry.via,
  kind: entry.kind,
  objects: entry.objects.map((object) => objectJson(object, view)),
  verified: entry.verified,
  ...(entry.pending === true ? { pending: true } : {}),
  valid: entry.valid,
  reason: entry.reason
})

const objectJson = ({ kind, id, action, fields }: HistoryObject, view: View): ChangedObjectJson => ({
  kind,
  id,
  name: nameOf({ kind, id, fields }, view),
  action,
  fields: Object.fromEntries(
    Object.entries(fields).filter(([, { before, after }]) => JSON.stringify(before) !== JSON.stringify(after))
  )
})

/** The name that the change gave or took away, else the present one. */
function nameOf({ kind, id, fields }: Pick<HistoryObject, 'kind' | 'id' | 'fields'>, view: View): string | null {
  if (kind === 'actor') return null
  const written = fields['name']?.after ?? fields['name']?.before
  if (typeof written === 'string') return written
  if (kind === 'peer') return nameOfPeer(id, view)
  return kind === 'service' ? (view.services.get(id)?.name ?? null) : null
}
