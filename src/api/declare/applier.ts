import type { Operator, PeerRulesJson } from '../../actors/operator/operator.ts'
import { type Clock, isoTime, type Timer } from '../../clock.ts'
import { ArcticError, ConflictError } from '../../errors.ts'
import type { Logger } from '../../log.ts'
import { carryOut } from './carry-out.ts'
import { draftOf } from './draft.ts'
import { exportMesh } from './export.ts'
import type { Journal, Pending } from './journal.ts'
import { revertRetryMs } from './limits.ts'
import { type Change, type Current, inverse, type MeshFile } from './mesh-file.ts'
import { planMesh } from './plan.ts'
import { settle } from './settle.ts'

export interface ApplyOptions {
  prune?: boolean | undefined
  dryRun?: boolean | undefined
  /** Takes itself back unless confirmed within this. */
  confirmWithinSeconds?: number | undefined
}

export interface Applied {
  dry_run: boolean
  changes: Change[]
  /** Of a dry run: what would change in the rules of each peer concerned. */
  rules: PeerRulesJson[] | null
  pending: { expires_at: string } | null
}

/**
 * Brings services and routes to what a file says, all or nothing as far as one peer can promise it: a step that fails
 * has the ones before it taken back. One apply at a time; while one waits for its confirmation, no other is begun.
 *
 * ```
 *   idle ──apply──▶ at work ──done──▶ idle
 *                      │  confirm_within
 *                      ▼
 *                   waiting ──confirm──▶ idle
 *                      │  time is up (of a restarted agent too)
 *                      ▼
 *                   reverting ──done──▶ idle      (fails: tried again)
 * ```
 */
export class Applier {
  readonly #operator: Operator
  readonly #journal: Journal
  readonly #clock: Clock
  readonly #log: Logger
  #pending: Pending | null = null
  #timer: Timer | null = null
  #last: Promise<unknown> = Promise.resolve()
  #stopped = false

  constructor(parts: { operator: Operator; journal: Journal; clock: Clock; log: Logger }) {
    this.#operator = parts.operator
    this.#journal = parts.journal
    this.#clock = parts.clock
    this.#log = parts.log
  }

  /** Takes up what an earlier run of the agent left waiting. */
  async start(): Promise<void> {
    try {
      const pending = await this.#journal.read()
      if (pending != null) this.#wait(pending)
    } catch (error) {
      if (!(error instanceof ArcticError)) throw error
      this.#log.error({ error }, 'an unconfirmed change cannot be taken back')
    }
  }

  /** What waits stays in the journal, for the next run. */
  async stop(): Promise<void> {
    this.#stopped = true
    this.#timer?.cancel()
    await this.#last.catch(() => {})
  }

  async export(): Promise<MeshFile> {
    return exportMesh(await this.#current())
  }

  get pending(): Applied['pending'] {
    return this.#pending == null ? null : { expires_at: isoTime(this.#pending.expires_at) }
  }

  apply(file: MeshFile, options: ApplyOptions): Promise<Applied> {
    if (options.dryRun === true) return this.#dryRun(file, options)
    return this.#alone(() => this.#apply(file, options))
  }

  /** Keeps what waits; ArcticError `not_found` when nothing does. */
  confirm(): Promise<{ confirmed: number }> {
    return this.#alone(async () => {
      if (this.#pending == null) {
        throw new ArcticError('not_found', 'no change waits for a confirmation; it may have been taken back already')
      }
      await this.#journal.clear()
      const confirmed = this.#pending.changes.length
      this.#forget()
      this.#log.info({ changes: confirmed }, 'a change is confirmed')
      return { confirmed }
    })
  }

  async #dryRun(file: MeshFile, { prune = false }: ApplyOptions): Promise<Applied> {
    const current = await this.#current()
    const changes = planMesh(file, current, { prune })
    const rules = await this.#operator.previewRules(draftOf(changes, current))
    return { dry_run: true, changes, rules, pending: this.pending }
  }

  async #apply(file: MeshFile, { prune = false, confirmWithinSeconds }: ApplyOptions): Promise<Applied> {
    if (this.#pending != null) {
      const until = isoTime(this.#pending.expires_at)
      throw new ConflictError(
        409,
        `a change waits for its confirmation until ${until}; run "arctic confirm", or wait until it has taken itself back`,
        { expires_at: until }
      )
    }
    const changes = planMesh(file, await this.#current(), { prune })
    if (changes.length === 0) return { dry_run: false, changes, rules: null, pending: null }
    if (confirmWithinSeconds != null) {
      const expires_at = this.#clock.now() + confirmWithinSeconds * 1000
      const pending: Pending = { version: 1, expires_at, changes }
      await this.#journal.write(pending)
      // Armed before the first step: one of them may be what cuts us off.
      this.#wait(pending)
    }
    try {
      await carryOut(this.#operator, changes)
    } catch (error) {
      await this.#takeBackAfter(error, changes)
    }
    this.#log.info({ changes: changes.length, confirm_within: confirmWithinSeconds ?? null }, 'a mesh file is applied')
    return { dry_run: false, changes, rules: null, pending: this.pending }
  }

  /** Ends with the failure, told in full: what is left of a change that cannot be taken back must not go unsaid. */
  async #takeBackAfter(failure: unknown, changes: readonly Change[]): Promise<never> {
    let left = 'what had been done is taken back'
    let done = true
    try {
      done = await this.#takeBack(changes)
      if (this.#pending != null) await this.#journal.clear()
      this.#forget()
    } catch (error) {
      this.#log.error({ error }, 'a failed apply could not be taken back')
      left = 'taking back what had been done failed too, see "arctic diff -f FILE"'
    }
    if (!(failure instanceof ArcticError) || !done) throw failure
    throw new ArcticError(failure.code, `${failure.message}; ${left}`, failure.details, { cause: failure })
  }

  #wait(pending: Pending): void {
    this.#pending = pending
    this.#timer = this.#clock.after(Math.max(0, pending.expires_at - this.#clock.now()), () => this.#expire(pending))
  }

  #expire(pending: Pending): void {
    void this.#alone(async () => {
      // Confirmed while this waited for its turn.
      if (this.#pending !== pending || this.#stopped) return
      this.#log.warn({ changes: pending.changes.length }, 'a change was not confirmed in time and is taken back')
      try {
        await this.#takeBack(pending.changes)
        await this.#journal.clear()
        this.#forget()
        this.#log.info({}, 'an unconfirmed change is taken back')
      } catch (error) {
        this.#log.error({ error }, 'an unconfirmed change could not be taken back yet; trying again')
        this.#timer = this.#clock.after(revertRetryMs, () => this.#expire(pending))
      }
    })
  }

  /** False when nothing of it had been done. */
  async #takeBack(changes: readonly Change[]): Promise<boolean> {
    const back = settle(changes.map(inverse), await this.#current())
    await carryOut(this.#operator, back)
    return back.length > 0
  }

  #forget(): void {
    this.#timer?.cancel()
    this.#timer = null
    this.#pending = null
  }

  async #current(): Promise<Current> {
    const [services, routes, peers] = await Promise.all([
      this.#operator.listServices({}),
      this.#operator.listRoutes(),
      this.#operator.listPeers({ all: true })
    ])
    return { services, routes, peers }
  }

  #alone<T>(task: () => Promise<T>): Promise<T> {
    const run = this.#last.then(task, task)
    this.#last = run.catch(() => {})
    return run
  }
}
