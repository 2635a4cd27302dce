import { createInterface } from 'node:readline'
import { type REPLServer, start } from 'node:repl'
import { PassThrough, type Readable, type Writable } from 'node:stream'
import { setImmediate } from 'node:timers/promises'
import { inspect } from 'node:util'
import { runInContext } from 'node:vm'
import type { ActorDetailJson } from '../../../actors/operator/actor-json.ts'
import type { ActorJson, ServiceJson } from '../../../actors/operator/operator.ts'
import type { Client } from '../client.ts'
import { explainFailure } from '../failure.ts'
import { completeActor, type Completion, type LiveActors } from './complete.ts'
import { ActorHandle, type Session, tree } from './handle.ts'

export interface ReplOptions {
  api: Client
  stdin: Readable
  stdout: Writable
  /** Somebody types: prompts, colours, completion, history. Else lines are run one after the other, without prompts. */
  terminal: boolean
  colours: boolean
  peer: string | undefined
  write: boolean
  /** Where what was typed is kept; null for nowhere. */
  historyFile: string | null
  signal: AbortSignal
}

type Evaluate = REPLServer['eval']

/**
 * A JavaScript prompt over the agent's API:
 * 1. `tree()` and `actor('KIND:NAME')` stand in the context, and whatever is a promise is awaited before it is shown;
 * 2. a pipe is fed line by line, each after the one before has been answered;
 * 3. the end of the input, `.exit` or the signal end it, and with it every watch.
 */
export async function runRepl(options: ReplOptions): Promise<void> {
  const { api, stdin, stdout, terminal, colours, peer, write, historyFile, signal } = options
  const ended = new AbortController()
  const input = terminal ? stdin : new PassThrough()
  const server = start({
    prompt: terminal ? (peer == null ? 'arctic> ' : `arctic ${peer}> `) : '',
    input,
    output: stdout,
    terminal,
    useColors: colours,
    useGlobal: false,
    ignoreUndefined: true,
    preview: false,
    writer: (value: unknown) => inspect(value, { colors: colours, depth: 6, maxArrayLength: 200 })
  })
  const session: Session = {
    api,
    peer,
    write,
    colours,
    print(text) {
      stdout.write(terminal ? `\r\u001B[K${text}` : text)
      if (terminal) server.displayPrompt(true)
    },
    signal: AbortSignal.any([signal, ended.signal])
  }
  const define = (): void => {
    Object.assign(server.context, {
      tree: () => tree(session),
      actor: (path: string) => new ActorHandle(path, session)
    })
  }
  define()
  server.on('reset', define)
  const turns = awaitAnswers(server)
  const standard = server.completer as (line: string, done: Done) => void
  const complete = (line: string, done: Done): void => {
    completeActor(line, liveActors(session, server)).then(
      (found) => (found == null ? standard(line, done) : done(null, found)),
      () => standard(line, done)
    )
  }
  Object.assign(server, { completer: complete })
  if (terminal && historyFile != null) {
    // A history that cannot be kept is no reason not to begin.
    server.setupHistory(historyFile, () => {})
  }

  const closed = new Promise<void>((resolve) => server.once('exit', resolve))
  const close = (): void => server.close()
  signal.addEventListener('abort', close, { once: true })
  if (signal.aborted) close()
  try {
    if (!terminal) {
      Object.assign(server, { displayPrompt: turns.settle })
      await Promise.race([feed(stdin, input as PassThrough, turns), closed])
      server.close()
    }
    await closed
  } finally {
    signal.removeEventListener('abort', close)
    ended.abort()
  }
}

type Done = (error: Error | null, found?: Completion) => void

interface Turns {
  /** Resolves when the line that was given last has been answered. */
  pending(): Promise<void>
  /** It has been: node answers some errors without telling who evaluates, but always prompts anew. */
  settle(): void
}

/** Evaluates as node does, then awaits what came out; a failure of the API is one line, not a stack. */
function awaitAnswers(server: REPLServer): Turns {
  const evaluate = server.eval as Evaluate
  let pending = Promise.withResolvers<void>()
  pending.resolve()
  const awaiting: Evaluate = function (this: REPLServer, code, context, file, done) {
    const turn = Promise.withResolvers<void>()
    pending = turn
    const answer = (error: Error | null, value?: unknown): void => {
      if (error != null && isFailure(error)) {
        server.output.write(explainFailure(error, { json: false }).text)
        done(null, undefined)
      } else {
        done(error, value)
      }
      turn.resolve()
    }
    evaluate.call(this, code, context, file, (error, value: unknown) => {
      if (error != null || !isThenable(value)) answer(error, value)
      else value.then((settled) => answer(null, settled), answer)
    })
  }
  Object.assign(server, { eval: awaiting })
  return { pending: () => pending.promise, settle: () => pending.resolve() }
}

const isFailure = (error: Error): boolean => error.name === 'Failure'

const isThenable = (value: unknown): value is PromiseLike<unknown> =>
  value != null && typeof (value as { then?: unknown }).then === 'function'

/** Line by line: the next one only when the one before was answered. */
async function feed(from: Readable, to: PassThrough, turns: Turns): Promise<void> {
  for await (const line of createInterface({ input: from, crlfDelay: Infinity })) {
    to.write(`${line}\n`)
    // The prompt takes the line in a turn of its own.
    await setImmediate()
    await turns.pending()
  }
}

function liveActors(session: Session, server: REPLServer): LiveActors {
  const { api, peer } = session
  return {
    async paths() {
      const root = await api.get<ActorJson>('/v1/actors', { query: { peer } })
      const paths: string[] = []
      const waiting = [root]
      for (const actor of waiting) {
        paths.push(actor.path)
        waiting.push(...actor.children)
      }
      const services = peer == null ? await api.list<ServiceJson>('/v1/services') : []
      const known = new Set(paths)
      return [...paths, ...services.flatMap(({ id, name }) => (known.has(`service:${id}`) ? [`service:${name}`] : []))]
    },
    async takes(path) {
      const detail = await api
        .get<ActorDetailJson>(`/v1/actors/${encodeURIComponent(path)}`, { query: { peer } })
        .catch(() => null)
      return detail?.takes ?? null
    },
    variable(name) {
      try {
        // A plain name, so nothing is run by it; `const` lives beside the context object, not in it.
        const value: unknown = runInContext(name, server.context)
        return value instanceof ActorHandle ? value.path : null
      } catch {
        return null
      }
    }
  }
}
