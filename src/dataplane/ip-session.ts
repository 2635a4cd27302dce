import { spawn, type ChildProcessByStdio } from 'node:child_process'
import { once } from 'node:events'
import type { Readable, Writable } from 'node:stream'
import type { Clock, Timer } from '../clock.ts'
import { ProgramFailedError, ProgramMissingError, type ExecResult } from './exec.ts'
import { childOutputBytesMax, childTimeoutMs } from './limits.ts'
import { Serial } from './serial.ts'

type Child = ChildProcessByStdio<Writable, Readable, Readable>
/** Arguments of one `ip`: plain words. */
export type IpQuestion = readonly string[]

/** Ends each answer, before its exit code; nothing that `ip` writes as JSON begins so. */
const MARK = '= exit '
/** Ends what is said to one call, on each of the two streams. */
const END = '= end\n'

/**
 * One long-lived shell that starts an `ip` for each question. To start a process from one of our size stops the event loop
 * for its fork, 3 to 25 ms; a shell forks in a tenth of that, and in its own time. `ip -batch` would not do: what it says does
 * not tell where one answer ends, and the first refusal takes the others with it.
 *
 * 1. Questions of one call run one after the other, calls too. Each has its exit code; what any of them said on stderr is told
 *    with all, for between the two streams there is no order.
 * 2. After an answer that does not come, or is too long, the shell is ended; the next call starts another.
 */
export class IpSession {
  readonly #clock: Clock
  readonly #serial = new Serial()
  #child: Child | null = null

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** What each said, in order. @throws {ProgramFailedError} when the shell itself has ended */
  ask(questions: readonly IpQuestion[]): Promise<ExecResult[]> {
    const word = /^[\w-]+$/
    for (const argument of questions.flat())
      if (!word.test(argument)) throw new TypeError(`"${argument}" is no plain word`)
    return this.#serial.run(() => this.#ask(questions))
  }

  /** Resolves once the shell is gone. */
  async close(): Promise<void> {
    const child = this.#child
    if (child == null) return
    this.#child = null
    const closed = once(child, 'close')
    child.stdin.end()
    await closed
  }

  async #ask(questions: readonly IpQuestion[]): Promise<ExecResult[]> {
    const child = (this.#child ??= this.#start())
    const script = questions.map((args) => `ip ${args.join(' ')} </dev/null; echo "\n${MARK}$?"\n`).join('')
    let timer: Timer | null = null
    try {
      const answered = heard(child, questions.length)
      timer = this.#clock.after(childTimeoutMs, () => child.kill('SIGKILL'))
      child.stdin.write(`${script}echo "${END.trim()}"; echo "${END.trim()}" >&2\n`)
      return await answered
    } catch (error) {
      child.kill('SIGKILL')
      if (this.#child === child) this.#child = null
      throw error
    } finally {
      timer?.cancel()
    }
  }

  #start(): Child {
    const child = spawn('sh', [], { stdio: ['pipe', 'pipe', 'pipe'] })
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8')
    // A write to one that has just ended: its close tells the story.
    child.stdin.on('error', () => {})
    // Who asks listens for it; between two questions nobody else does.
    child.on('error', () => {})
    child.once('close', () => {
      if (this.#child === child) this.#child = null
    })
    return child
  }
}

/** Resolves with so many answers once both streams have ended them. */
function heard(child: Child, count: number): Promise<ExecResult[]> {
  return new Promise((resolve, reject) => {
    const said = { stdout: '', stderr: '' }
    const listen = (name: 'stdout' | 'stderr') => (chunk: string) => {
      said[name] += chunk
      if (said[name].length > childOutputBytesMax) end(() => reject(failed('it said more than is read')))
      else if (said.stdout.endsWith(END) && said.stderr.endsWith(END))
        end(() => resolve(answersIn(said.stdout, said.stderr.slice(0, -END.length), count)))
    }
    const [onOut, onErr] = [listen('stdout'), listen('stderr')]
    const onError = (error: NodeJS.ErrnoException): void =>
      end(() => reject(error.code === 'ENOENT' ? new ProgramMissingError('sh') : error))
    const onClose = (): void => end(() => reject(failed(said.stderr.trim() || 'the shell has ended')))
    const end = (tell: () => void): void => {
      child.stdout.off('data', onOut)
      child.stderr.off('data', onErr)
      child.off('error', onError)
      child.off('close', onClose)
      tell()
    }
    child.stdout.on('data', onOut)
    child.stderr.on('data', onErr)
    child.once('error', onError)
    child.once('close', onClose)
  })
}

function answersIn(stdout: string, stderr: string, count: number): ExecResult[] {
  const parts = stdout.split(MARK)
  return Array.from({ length: count }, (_, i) => ({
    stdout: (parts[i] ?? '').replace(/^\d+\n/, ''),
    code: Number.parseInt(parts[i + 1] ?? '-1', 10),
    stderr
  }))
}

const failed = (why: string): ProgramFailedError => new ProgramFailedError('ip', { code: -1, stdout: '', stderr: why })
