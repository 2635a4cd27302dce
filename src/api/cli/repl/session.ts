import { createInterface } from 'node:readline'
import { Recoverable, type REPLServer, start } from 'node:repl'
import { PassThrough, type Readable, type Writable } from 'node:stream'
import { setImmediate } from 'node:timers/promises'
import { inspect } from 'node:util'
import { runInContext } from 'node:vm'
import { append } from '../../../append.ts'
import type { ActorDetailJson } from '../../../actors/operator/actor-json.ts'
import type { ActorJson, PeerJson, ServiceJson } from '../../../actors/operator/operator.ts'
import type { Client } from '../client.ts'
import { actorAt } from '../actor-path.ts'
import { explainFailure, Failure, noneIfForbidden } from '../failure.ts'
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
 * 1. the agent is asked for once before anything is shown, so that one that is not there is an error like any other;
 * 2. `tree()` and `actor('KIND:NAME')` stand in the context, and whatever is a promise is awaited before it is shown;
 * 3. Ctrl-C breaks off what is evaluated or awaited, and ends the session only where nothing is;
 * 4. a pipe is fed line by line, each after the one before has been answered;
 * 5. the end of the input, `.exit` or the signal end it, and with it every watch.
 */
export async function runRepl(options: ReplOptions): Promise<void> {
  const { api, stdin, stdout, terminal, colours, peer, write, historyFile, signal } = options
  await api.get(actorAt('agent'), { query: { peer } })
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
    breakEvalOnSigint: terminal,
    // What nobody awaited and node tells by itself comes this way too.
    writer(value: unknown) {
      if (isFailure(value)) return failureText(value)
      return isInterruption(value)
        ? 'broken off by Ctrl-C'
        : inspect(value, { colors: colours, depth: 6, maxArrayLength: 200 })
    }
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
  const turns = awaitAnswers(server, ended.signal)
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
      await Promise.race([feed(stdin, input as PassThrough, turns, ended.signal), closed])
      if (turns.isOpen()) stdout.write('Uncaught SyntaxError: the input ended within an expression\n')
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
  /** The lines so far are the beginning of an expression. */
  isOpen(): boolean
}

/** Evaluates as node does, then awaits what came out, until Ctrl-C; a failure of the API is one line, not a stack. */
function awaitAnswers(server: REPLServer, ended: AbortSignal): Turns {
  const evaluate = server.eval as Evaluate
  let pending = Promise.withResolvers<void>()
  pending.resolve()
  let open = false
  let breakOff: (() => void) | null = null
  const awaiting: Evaluate = function (this: REPLServer, code, context, file, done) {
    const turn = Promise.withResolvers<void>()
    pending = turn
    const answer = (error: Error | null, value?: unknown): void => {
      breakOff = null
      open = error instanceof Recoverable
      // A session that is over says nothing more: what it still waited for was ended with it.
      if (ended.aborted) done(null, undefined)
      else if (isFailure(error)) {
        server.output.write(`${failureText(error)}\n`)
        done(null, undefined)
      } else {
        done(error, value)
      }
      turn.resolve()
    }
    evaluate.call(this, code, context, file, (error, value: unknown) => {
      if (error != null || !isThenable(value)) return answer(error, value)
      const interrupted = Promise.withResolvers<never>()
      breakOff = () => interrupted.reject(new InterruptedError())
      Promise.race([value, interrupted.promise]).then((settled) => answer(null, settled), answer)
    })
  }
  Object.assign(server, { eval: awaiting })
  const standard = server.listeners('SIGINT') as Array<(this: REPLServer) => void>
  server.removeAllListeners('SIGINT')
  server.on('SIGINT', () => {
    if (breakOff != null) breakOff()
    else for (const listener of standard) listener.call(server)
  })
  return { pending: () => pending.promise, settle: () => pending.resolve(), isOpen: () => open }
}

class InterruptedError extends Error {
  readonly code = 'ERR_SCRIPT_EXECUTION_INTERRUPTED'
}

/** Ours, or what node throws for the same reason. */
const isInterruption = (error: unknown): boolean =>
  (error as { code?: unknown } | null)?.code === 'ERR_SCRIPT_EXECUTION_INTERRUPTED'

const isFailure = (value: unknown): boolean => value instanceof Failure

const failureText = (error: unknown): string => explainFailure(error, { json: false }).text.trimEnd()

const isThenable = (value: unknown): value is PromiseLike<unknown> =>
  value != null && typeof (value as { then?: unknown }).then === 'function'

/** Line by line: the next one only when the one before was answered. */
async function feed(from: Readable, to: PassThrough, turns: Turns, signal: AbortSignal): Promise<void> {
  for await (const line of createInterface({ input: from, crlfDelay: Infinity, signal })) {
    to.write(`${line}\n`)
    // The prompt takes the line in a turn of its own.
    await setImmediate()
    await turns.pending()
  }
}

function liveActors(session: Session, server: REPLServer): LiveActors {
  const { api, peer } = session
  const pathsAt = async (at: string | undefined): Promise<string[]> => {
    const [root, services] = await Promise.all([
      api.get<ActorJson>('/v1/actors', { query: { peer: at } }),
      api.list<ServiceJson>('/v1/services').catch(noneIfForbidden)
    ])
    const paths: string[] = []
    const waiting = [root]
    for (const actor of waiting) {
      paths.push(actor.path)
      append(waiting, actor.children)
    }
    const known = new Set(paths)
    return [
      ...paths,
      ...services.flatMap(({ id, name }) => (name != null && known.has(`service:${id}`) ? [`service:${name}`] : []))
    ]
  }
  return {
    async paths(begun) {
      const [, there] = /^actor:\/\/([^/]+)\//.exec(begun) ?? []
      if (there != null) return (await pathsAt(there)).map((path) => `actor://${there}/${path}`)
      if (!begun.startsWith('actor:')) return pathsAt(peer)
      const peers = await api.list<PeerJson>('/v1/peers')
      return peers.map(({ id, name }) => `actor://${name ?? id}/`)
    },
    async takes(path) {
      const detail = await api.get<ActorDetailJson>(actorAt(path), { query: { peer } }).catch(() => null)
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
