import { append } from '../../append.ts'
import { isoTime } from '../../clock.ts'
import type { PeerId, Policy, Role } from '../../crdt/schema.ts'
import type { AppliedState } from '../../dataplane/desired.ts'
import { AlreadyInClusterError, InvalidRequestError } from '../../errors.ts'
import { inviteTtlDefaultMs, inviteTtlMaxMs, inviteUsesMax, ownRecordWaitMs } from '../limits.ts'
import { sameHeads } from '../reconcile/synced.ts'
import { historyState } from './behind.ts'
import { clusterView, type OperatorDeps } from './deps.ts'
import { copiedIdentities } from './copied.ts'
import type { ClusterJson, LeaveJson, SyncJson } from './operator.ts'
import { nameOfPeer } from './peer-ref.ts'
import { leftOut } from './left-out.ts'
import { quantile } from './quantile.ts'
import { departedJson, standingOf } from './standing.ts'

/** Founding, entering and looking at the cluster. */
export class ClusterNouns {
  readonly #deps: OperatorDeps

  constructor(deps: OperatorDeps) {
    this.#deps = deps
  }

  async init({ name }: { name?: string }): Promise<ClusterJson> {
    this.#refuseSecondCluster()
    const record = this.#deps.selfRecord()
    await this.#deps.replica.init({ name: name ?? record.name, record })
    await this.#ownRecordSeen()
    this.#deps.reconciler.synced.pulled()
    this.#deps.reconciler.flush()
    return this.status()
  }

  async invite(input: { ttl_seconds?: number; uses?: number; role?: Role }): Promise<{
    token: string
    expires_at: string
    uses: number
    role: Role
  }> {
    clusterView(this.#deps)
    const ttlMs = input.ttl_seconds == null ? inviteTtlDefaultMs : input.ttl_seconds * 1000
    const uses = input.uses ?? 1
    const role = input.role ?? 'admin'
    if (!Number.isFinite(ttlMs) || ttlMs < 1000 || ttlMs > inviteTtlMaxMs) {
      throw new InvalidRequestError(`an invite lives from 1 second to ${inviteTtlMaxMs / 86_400_000} days`)
    }
    if (!Number.isInteger(uses) || uses < 1 || uses > inviteUsesMax) {
      throw new InvalidRequestError(`an invite is good for 1 to ${inviteUsesMax} peers`)
    }
    if (role !== 'member' && role !== 'admin') throw new InvalidRequestError('role is member or admin')
    const expiresAt = isoTime(this.#deps.clock.now() + ttlMs)
    const token = await this.#deps.mesh.invite({ ttlMs, uses, role })
    return { token, expires_at: expiresAt, uses, role }
  }

  async join({ token }: { token: string }, { signal }: { signal: AbortSignal }): Promise<ClusterJson> {
    this.#refuseSecondCluster()
    await this.#deps.mesh.join(token.trim(), { signal })
    this.#deps.reconciler.synced.pulled()
    this.#deps.reconciler.flush()
    return this.status()
  }

  async leave(): Promise<LeaveJson> {
    const { replica, mesh, reconciler } = this.#deps
    const before = clusterView(this.#deps)
    await replica.leave()
    reconciler.flush()
    const hasLeft = replica.view().departed?.get(mesh.self)?.how === 'left'
    // Who was thrown out has nothing to say; who crashed between leaving and forgetting says it again.
    const { told, missed } = hasLeft ? await mesh.depart() : { told: [], missed: [] }
    const log_kept_as = await replica.forget()
    reconciler.flush()
    const named = (ids: PeerId[]): LeaveJson['told'] => ids.map((id) => ({ id, name: nameOfPeer(id, before) ?? id }))
    return { ...before.cluster, told: named(told), missed: named(missed), log_kept_as }
  }

  async status(): Promise<ClusterJson> {
    const { mesh } = this.#deps
    const view = clusterView(this.#deps)
    const samples = mesh.propagation()
    const members = [...view.members.values()]
      .map(({ id, name, role }) => {
        const self = id === mesh.self
        const presence = mesh.peer(id)
        const reachable = self || presence?.reachable === true
        const heads = self ? view.heads : (presence?.heads ?? null)
        return { id, name, role, reachable, heads }
      })
      .sort((a, b) => (a.id < b.id ? -1 : 1))
    return {
      id: view.cluster.id,
      name: view.cluster.name,
      self: mesh.self,
      notice: standingOf(this.#deps).notice,
      members,
      departed: departedJson(view),
      heads: view.heads,
      history: historyState(this.#deps),
      agreed: members.every(({ reachable, heads }) => !reachable || sameHeads(heads, view.heads)),
      policy: view.policy,
      propagation_ms: { p50: quantile(samples, 0.5), p99: quantile(samples, 0.99), samples: samples.length },
      rejected_changes: [
        ...view.rejected.map(({ hash, author, reason }) => ({ hash, author, reason })),
        ...(await leftOut(this.#deps))
      ],
      copied_identities: copiedIdentities(this.#deps)
    }
  }

  async setPolicy(patch: Partial<Policy>): Promise<ClusterJson> {
    clusterView(this.#deps)
    await this.#deps.replica.setPolicy(patch)
    return this.status()
  }

  /** Pulls from everybody who answers, then brings the host to the desired state anew, whether it differs or not. */
  async sync({ signal }: { signal: AbortSignal }): Promise<SyncJson> {
    const { mesh, dataplane, reconciler, replica } = this.#deps
    clusterView(this.#deps)
    const changes: string[] = []
    const before = reconciler.applied
    const unsubscribe = dataplane.onEvent((event) => {
      if (event.type === 'kernel.repaired') changes.push(event.what)
    })
    try {
      const outcomes = await mesh.syncAll({ signal })
      if (outcomes.some((outcome) => outcome.error == null)) reconciler.synced.pulled()
      reconciler.flush()
      const desired = reconciler.desired
      if (desired != null) {
        const applied = await dataplane.apply(desired)
        reconciler.onApplied(applied, desired)
        append(changes, changesBetween(before, applied))
      }
      const { members } = replica.view()
      return {
        peers: outcomes.map(({ peer, received, sent, error }) => ({
          id: peer,
          name: members.get(peer)?.name ?? null,
          received,
          sent,
          error
        })),
        changes
      }
    } finally {
      unsubscribe()
    }
  }

  /** Until the view holds this peer's own record, so that the answer has its name; not longer than it takes to notice. */
  async #ownRecordSeen(): Promise<void> {
    const { replica, mesh, clock } = this.#deps
    const seen = (): boolean => replica.view().members.get(mesh.self)?.record != null
    if (seen()) return
    await new Promise<void>((resolve) => {
      const done = (): void => {
        timer.cancel()
        unsubscribe()
        resolve()
      }
      const timer = clock.after(ownRecordWaitMs, done)
      const unsubscribe = replica.onView(() => seen() && done())
    })
  }

  #refuseSecondCluster(): void {
    const { cluster } = this.#deps.replica.view()
    if (cluster != null) throw new AlreadyInClusterError(cluster.name)
  }
}

/** What is in force now and was not before, in words. */
function changesBetween(before: AppliedState | null, after: AppliedState): string[] {
  const changes: string[] = []
  for (const [id, { spec, failure }] of after.services) {
    const was = before?.services.get(id)
    if (was?.spec === spec && was.failure?.reason === failure?.reason) continue
    changes.push(`service ${id}: ${failure == null ? `programmed ${spec}` : `${failure.reason}, ${failure.message}`}`)
  }
  for (const id of before?.services.keys() ?? []) if (!after.services.has(id)) changes.push(`service ${id}: removed`)
  if (after.failure != null && after.failure.reason !== before?.failure?.reason) {
    changes.push(`data plane: ${after.failure.reason}, ${after.failure.message}`)
  }
  return changes
}
