import { inspect } from 'node:util'
import type {
  ActorDetailJson,
  ActorSentJson,
  ActorUpdateJson,
  DeathNotice,
  TransitionJson
} from '../../../actors/operator/actor-json.ts'
import type { ActorJson } from '../../../actors/operator/operator.ts'
import { actorAt } from '../actor-path.ts'
import type { Client } from '../client.ts'
import { Failure } from '../failure.ts'
import { visible } from '../table.ts'
import { actorTreeText, updateText } from '../views/actor.ts'
import { chartText } from '../views/chart.ts'

export interface Session {
  api: Client
  /** Of the agent of this member. */
  peer: string | undefined
  /** Events may be sent. */
  write: boolean
  colours: boolean
  /** Prints between two prompts. */
  print: (text: string) => void
  /** Aborts when the session ends. */
  signal: AbortSignal
}

type EventText = string | ({ type: string } & Record<string, unknown>)

/** What a handle has, for completion. */
export const HANDLE_MEMBERS = ['state', 'status', 'context', 'takes', 'children'] as const
export const HANDLE_METHODS = ['send', 'tell', 'watch', 'ended', 'history', 'inspect', 'diagram'] as const

/** An actor in the session. It holds nothing but the address: every look is a new one. */
export class ActorHandle {
  readonly path: string
  readonly #session: Session

  constructor(path: string, session: Session) {
    this.path = path
    this.#session = session
  }

  get state(): Promise<string | null> {
    return this.inspect().then(({ state }) => state)
  }

  get status(): Promise<string> {
    return this.inspect().then(({ status }) => status)
  }

  get context(): Promise<Record<string, unknown>> {
    return this.inspect().then(({ context }) => context)
  }

  get takes(): Promise<ActorDetailJson['takes']> {
    return this.inspect().then(({ takes }) => takes)
  }

  get children(): Promise<string[]> {
    return this.inspect().then(({ children }) => children.map(({ path }) => path))
  }

  async inspect(): Promise<ActorDetailJson> {
    const { api, peer } = this.#session
    return api.get<ActorDetailJson>(actorAt(this.path), { query: { peer } })
  }

  async history(): Promise<TransitionJson[]> {
    const { history } = await this.inspect()
    return asText(history, () => history.map(updateText).join(''))
  }

  async diagram(): Promise<string> {
    const { chart } = await this.inspect()
    return asText(Object.assign([], chart), () =>
      chart == null ? 'plain logic, no states' : chartText(chart, this.#session.colours)
    ) as unknown as string
  }

  /** `send('netmgr.retry')` or `send({ type: 'service.impaired', reason: 'Drill', message: '…' })`. */
  async send(event: EventText): Promise<ActorSentJson> {
    return this.#post<ActorSentJson>(event, {})
  }

  /** The same, and does not wait for what becomes of it. */
  async tell(event: EventText): Promise<void> {
    await this.#post(event, { wait: false })
  }

  /** Resolves when the actor ends, with how; `unreachable` when its peer is not there to tell. */
  async ended(): Promise<DeathNotice> {
    const { api, peer, signal } = this.#session
    const query = { path: this.path, peer, only: 'end' }
    for await (const { type, data } of api.stream('/v1/actors/watch', { query, signal })) {
      if (type === 'ended') return data as DeathNotice
    }
    throw new Failure('unavailable', 'the agent ended the watch; ask again when it is back')
  }

  /** Calls `listener` with each step, or prints it. */
  watch(listener?: (update: ActorUpdateJson) => void): Watch {
    const { print } = this.#session
    return new Watch(this.path, this.#session, listener ?? ((update) => print(updateText(update))))
  }

  [inspect.custom](): string {
    return `actor('${this.path}')  .${[...HANDLE_MEMBERS, ...HANDLE_METHODS.map((name) => `${name}()`)].join(' .')}`
  }

  async #post<T>(event: EventText, { wait }: { wait?: boolean }): Promise<T> {
    const { api, peer, write } = this.#session
    if (!write) {
      throw new Failure('forbidden', 'this session only reads; start it with "arctic repl --write" to send events')
    }
    const body = typeof event === 'string' ? { type: event } : event
    return api.post<T>(`${actorAt(this.path)}/events`, body, { query: { peer, wait } })
  }
}

/** A watch that goes on until `stop()` or the end of the session. */
export class Watch {
  readonly path: string
  readonly #stopped = new AbortController()

  constructor(path: string, { api, peer, print, signal }: Session, listener: (update: ActorUpdateJson) => void) {
    this.path = path
    const stop = AbortSignal.any([signal, this.#stopped.signal])
    const follow = async (): Promise<void> => {
      for await (const { type, data } of api.stream('/v1/actors/watch', { query: { path, peer }, signal: stop })) {
        if (type !== 'open') listener(data as ActorUpdateJson)
      }
      if (!stop.aborted) print(`the watch of ${visible(path)} has ended\n`)
    }
    follow().catch((error: unknown) => {
      // An error of a listener is one of the prompt's own world, which is another one's `Error` here.
      const why = (error as { message?: unknown } | null)?.message ?? error
      if (!stop.aborted) print(visible(`the watch of ${path} has ended: ${String(why)}`) + '\n')
    })
  }

  stop(): void {
    this.#stopped.abort()
  }

  [inspect.custom](): string {
    return this.#stopped.signal.aborted ? `no longer watching ${this.path}` : `watching ${this.path}; .stop() ends it`
  }
}

/** The tree, which a person sees drawn and a program has as data. */
export async function tree({ api, peer, colours }: Session): Promise<ActorJson> {
  const root = await api.get<ActorJson>('/v1/actors', { query: { peer } })
  return asText(root, () => actorTreeText(root, colours))
}

/** The same data, shown at the prompt as `text`. */
function asText<T extends object>(data: T, text: () => string): T {
  return Object.defineProperty(data, inspect.custom, { value: () => text().trimEnd(), enumerable: false })
}
