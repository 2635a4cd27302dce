import { spawn, type ChildProcessByStdio } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import type { Clock, Timer } from '../clock.ts'
import { childTimeoutMs } from './limits.ts'

type Child = ChildProcessByStdio<Writable, Readable, Readable>

interface Asked {
  command: string
  resolve: (json: string) => void
  reject: (error: Error) => void
}

/**
 * One long-lived `nft -j -i` for questions that are asked again and again: starting a process from one of our size costs
 * many times what the answer does (0.9 instead of 4 ms, and the event loop does not stand still for the fork). Only for
 * commands that answer with one line of JSON.
 *
 * 1. One question at a time: an answer comes on stdout and a refusal on stderr, and between those there is no order.
 * 2. After a refusal, or an answer that does not come, the process is ended; the next question starts another.
 */
export class NftSession {
  readonly #clock: Clock
  #child: Child | null = null
  #current: (Asked & { timer: Timer }) | null = null
  readonly #waiting: Asked[] = []

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** The JSON text that `nft` answers with. Rejects with what it said instead. */
  ask(command: string): Promise<string> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ command, resolve, reject })
      this.#goOn()
    })
  }

  /** Whoever still waits is told that nft has ended. */
  close(): void {
    this.#child?.stdin.end()
  }

  #goOn(): void {
    if (this.#current != null) return
    const asked = this.#waiting.shift()
    if (asked == null) return
    const child = (this.#child ??= this.#start())
    this.#current = { ...asked, timer: this.#clock.after(childTimeoutMs, () => child.kill('SIGKILL')) }
    child.stdin.write(`${asked.command}\n`)
  }

  #start(): Child {
    const child = spawn('nft', ['-j', '-i'], { stdio: ['pipe', 'pipe', 'pipe'] })
    let said = 'it has ended'
    createInterface({ input: child.stdout }).on('line', (line) => {
      if (line !== '' && this.#child === child) this.#settle((asked) => asked.resolve(line))
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
