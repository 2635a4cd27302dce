import type { Readable, Writable } from 'node:stream'
import { type Clock, systemClock } from '../../clock.ts'
import type { Context, FlagValue } from './command.ts'
import { Failure, explainFailure, usageFailure } from './failure.ts'
import { parse, type Parsed } from './parse.ts'
import type { Format } from './formats.ts'

/** Signals that end a command, and the exit code that a shell knows each by. */
const ENDINGS = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const
type Ending = keyof typeof ENDINGS
const endings = Object.keys(ENDINGS) as Ending[]

/** What a command touches of the process; `process` itself is one. */
export interface CliIo {
  stdin: Readable & { isTTY?: boolean }
  stdout: Writable & { isTTY?: boolean }
  stderr: Writable & { isTTY?: boolean }
  once(signal: Ending, listener: () => void): unknown
  removeListener(signal: Ending, listener: () => void): unknown
}

type Env = Readonly<Record<string, string | undefined>>

/**
 * The command line client: argv in, exit code out, everything else through `io`.
 * 1. Parse. Help, version and wrong usage end here, and load nothing that talks to an agent.
 * 2. Run the command with a client for the agent that flags or environment name.
 * 3. Say how it failed, in the form that was asked for.
 * Ctrl-C ends a command with 130, one that watches with 0; SIGTERM with 143 and SIGHUP with 129, and each of them as
 * orderly, so that a screen is given back. A reader that closes stdout ends it quietly.
 */
export async function runCli(
  argv: string[],
  env: Env,
  io: CliIo,
  { clock = systemClock, examineHost }: { clock?: Clock; examineHost?: Context['examineHost'] } = {}
): Promise<number> {
  if (argv[0] === '__complete') {
    const { complete } = await import('./complete.ts')
    const words = argv[1] === '--' ? argv.slice(2) : argv.slice(1)
    io.stdout.write(await complete(words, env, { clock, signal: new AbortController().signal }))
    return 0
  }
  const { globals, ask } = parse(argv)
  const json = globals['json'] === true || globals['output'] === 'json' || globals['output'] === 'jsonl'
  const interrupted = new AbortController()
  const ownCtrlC =
    ask.kind === 'run' && ask.command.ownCtrlC === true && io.stdin.isTTY === true && io.stdout.isTTY === true
  const heard = endings.filter((signal) => !(signal === 'SIGINT' && ownCtrlC))
  const listeners = heard.map((signal) => {
    const code = signal === 'SIGINT' && watches(ask) ? 0 : ENDINGS[signal]
    return { signal, listener: (): void => interrupted.abort(new Stop(code)) }
  })
  const closed = (error: NodeJS.ErrnoException): void => interrupted.abort(error.code === 'EPIPE' ? new Stop(0) : error)
  for (const { signal, listener } of listeners) io.once(signal, listener)
  const release = (): void => {
    for (const { signal, listener } of listeners) io.removeListener(signal, listener)
  }
  // Both stay after the command: a pipe may report only then that its reader has gone.
  io.stdout.on('error', closed)
  io.stderr.on('error', () => {})
  try {
    switch (ask.kind) {
      case 'wrong':
        throw ask.failure
      case 'help': {
        const { helpText } = await import('./help.ts')
        io.stdout.write(helpText(ask.words))
        return 0
      }
      case 'version':
        io.stdout.write(`arctic ${(await import('../../version.ts')).version}\n`)
        return 0
      case 'run':
        return await run(ask, { globals, env, io, clock, signal: interrupted.signal, examineHost })
    }
  } catch (error) {
    const cause = interrupted.signal.aborted ? interrupted.signal.reason : error
    if (cause instanceof Stop) return cause.exitCode
    const { text, exitCode } = explainFailure(cause, { json })
    io.stderr.write(text)
    return exitCode
  } finally {
    release()
  }
}

/** Not a failure: the operator, or the reader of stdout, has had enough. */
class Stop extends Error {
  readonly exitCode: number

  constructor(exitCode: number) {
    super('stopped')
    this.exitCode = exitCode
  }
}

const watches = (ask: Parsed['ask']): boolean =>
  ask.kind === 'run' && (ask.command.endless === true || ask.input.flags['watch'] === true)

async function run(
  { command, input }: Extract<Parsed['ask'], { kind: 'run' }>,
  host: {
    globals: Readonly<Record<string, FlagValue>>
    env: Env
    io: CliIo
    clock: Clock
    signal: AbortSignal
    examineHost: Context['examineHost'] | undefined
  }
): Promise<number> {
  const { globals, env, io, clock, signal } = host
  if (command.run == null) {
    throw usageFailure(
      `"${command.words.join(' ')}" must be the first word, its flags follow it`,
      command.words.join(' ')
    )
  }
  const format = chooseFormat(globals)
  if (format === 'name' && command.kind == null) {
    const words = command.words.join(' ')
    throw usageFailure(`what "${words}" prints has no names; choose another -o`, words)
  }
  const [{ Client }, { Printer }, { chooseTarget }] = await Promise.all([
    import('./client.ts'),
    import('./printer.ts'),
    import('./target.ts')
  ])
  const target = command.local === true ? await chooseTarget({}, {}) : await chooseTarget(globals, env)
  let declined: string | null = null
  const terminal = io.stdout.isTTY === true
  const context: Context = {
    api: new Client(target, { clock, signal }),
    globals,
    env,
    print: new Printer({
      format,
      kind: command.kind,
      terminal,
      colours: terminal && !env['NO_COLOR'] && env['TERM'] !== 'dumb',
      out: io.stdout,
      err: io.stderr
    }),
    clock,
    signal,
    async confirm(question, otherwise = 'nothing was deleted') {
      if (io.stdin.isTTY !== true) {
        throw usageFailure('it asks first, and there is no terminal to ask on; add --yes', command.words.join(' '))
      }
      const { askTerminal } = await import('./confirm.ts')
      const agreed = await askTerminal(question, { stdin: io.stdin, stderr: io.stderr, signal })
      if (!agreed) declined = otherwise
      return agreed
    },
    terminal: io.stdin.isTTY === true,
    examineHost: host.examineHost ?? null,
    streams: io,
    readInput: () => readInput(io.stdin)
  }
  const exit = await command.run(context, input)
  signal.throwIfAborted()
  if (declined == null) return exit ?? 0
  context.print.remark(declined)
  return 1
}

function chooseFormat(globals: Readonly<Record<string, FlagValue>>): Format {
  const output = globals['output'] as Format | undefined
  if (globals['json'] !== true) return output ?? 'table'
  if (output != null && output !== 'json') throw usageFailure(`-j and -o ${output} contradict each other`)
  return 'json'
}

async function readInput(stdin: Readable): Promise<Buffer> {
  const { inputBytesMax } = await import('./limits.ts')
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of stdin) {
    const part = Buffer.from(chunk as Uint8Array)
    bytes += part.length
    if (bytes > inputBytesMax)
      throw new Failure('invalid_request', `stdin holds more than ${inputBytesMax} bytes; give less`)
    chunks.push(part)
  }
  return Buffer.concat(chunks)
}
