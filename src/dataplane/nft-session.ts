import { spawn, type ChildProcessByStdio } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import type { Clock, Timer } from '../clock.ts'
import { childOutputBytesMax, childTimeoutMs } from './limits.ts'

type Child = ChildProcessByStdio<Writable, Readable, Readable>

interface Asked {
  command: string
  resolve: (answer: string) => void
  reject: (error: Error) => void
}

/** How an `nft` is started and asked, and the line with which each of its answers ends. */
export interface Dialect {
  argv: readonly [program: string, ...args: string[]]
  isLast: (line: string) => boolean
  /** Asked behind each command. */
  closing?: string
}

/** One line of JSON to an answer. */
export const JSON_LINES: Dialect = { argv: ['nft', '-j', '-i'], isLast: (line) => line !== '' }
/** A table as a file would have it, without the values of counters. */
export const TABLES: Dialect = { argv: ['nft', '-s', '-i'], isLast: (line) => line === '}' }
/**
 * Changes, which nft answers with nothing, or with why not. So it is asked something else after each, whose answer is one
 * known line; what it says before that, it says of the change. Only a shell puts both into one stream, in their order.
 */
export const CHANGES: Dialect = {
  argv: ['sh', '-c', 'exec nft -i 2>&1'],
  isLast: (line) => line.startsWith('meta expression, datatype mark'),
  closing: 'describe meta mark'
}

/**
 * One long-lived `nft -i` for questions that are asked again and again: starting a process from one of our size costs
 * many times what the answer does (0.9 instead of 4 ms, and the event loop does not stand still for the fork). Only for
 * commands whose answer is known to have ended.
 *
 * 1. One question at a time: an answer comes on stdout and a refusal on stderr, and between those there is no order.
 * 2. After a refusal, or an answer that does not come or has no end, the process is ended; the next question starts another.
 */
export class NftSession {
  readonly #clock: Clock
  readonly #dialect: Dialect
  #child: Child | null = null
  #current: (Asked & { timer: Timer }) | null = null
  readonly #waiting: Asked[] = []

  constructor(clock: Clock, dialect: Dialect = JSON_LINES) {
    this.#clock = clock
    this.#dialect = dialect
  }

  /** The text that `nft` answers with. Rejects with what it said instead. */
  ask(command: string): Promise<string> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ command, resolve, reject })
      this.#goOn()
    })
  }

  /** Resolves once the process is gone. Whoever still waits is told that nft has ended. */
  async close(): Promise<void> {
    const child = this.#child
    if (child == null) return
    child.stdin.end()
    await once(child, 'close')
  }

  #goOn(): void {
    if (this.#current != null) return
    const asked = this.#waiting.shift()
    if (asked == null) return
    const child = (this.#child ??= this.#start())
    this.#current = { ...asked, timer: this.#clock.after(childTimeoutMs, () => child.kill('SIGKILL')) }
    const { closing } = this.#dialect
    child.stdin.write(`${asked.command}\n${closing == null ? '' : `${closing}\n`}`)
  }

  #start(): Child {
    const { argv, isLast } = this.#dialect
    const [program, ...args] = argv
    const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] })
    let said = 'it has ended'
    let lines: string[] = []
    let length = 0
    createInterface({ input: child.stdout }).on('line', (line) => {
      if (this.#child !== child) return
      lines.push(line)
      length += line.length + 1
      if (length > childOutputBytesMax) {
        said = 'it says too much'
        lines = []
        child.kill('SIGKILL')
        return
      }
      if (!isLast(line)) return
      const answer = lines.join('\n')
      lines = []
      length = 0
      this.#settle((asked) => asked.resolve(answer))
    })
    createInterface({ input: child.stderr }).on('line', (line) => {
      if (!line.startsWith('Error:')) return
      said = line
      child.kill('SIGKILL')
    })
    const gone = (why: string): void => {
      if (this.#child !== child) return
      this.#child = null
      this.#settle((asked) => asked.reject(new Error(`nft: ${why}`)))
    }
    child.once('error', (error) => gone(error.message))
    child.once('close', () => gone(said))
    // A write to one that has just ended: its close tells the story.
    child.stdin.on('error', () => {})
    return child
  }

  #settle(tell: (asked: Asked) => void): void {
    const asked = this.#current
    this.#current = null
    asked?.timer.cancel()
    if (asked != null) tell(asked)
    this.#goOn()
  }
}
