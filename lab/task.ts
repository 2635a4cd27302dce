import { spawn, type ChildProcess } from 'node:child_process'
import { closeSync, openSync, readFileSync, statSync } from 'node:fs'
import { readyTimeoutMs } from './limits.ts'
import { until, type WaitOptions } from './wait.ts'

export interface TaskOptions {
  /** Where its output goes: `PATH.out` and `PATH.err`. */
  logPath: string
  env?: Record<string, string>
  cwd?: string
}

/**
 * A program that runs beside the story: a server, an agent, a capture. It writes to files rather than pipes, so it
 * outlives this process when hosts are kept, and what it said can be read after everything went wrong.
 */
export class Task {
  readonly argv: readonly string[]
  readonly pid: number
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>
  readonly logPath: string
  readonly #child: ChildProcess

  private constructor(argv: readonly string[], child: ChildProcess, pid: number, logPath: string) {
    this.argv = argv
    this.pid = pid
    this.logPath = logPath
    this.#child = child
    this.exited = new Promise((resolve) => {
      child.on('exit', (code, signal) => resolve({ code, signal }))
    })
  }

  static async spawn(argv: readonly string[], { logPath, env, cwd }: TaskOptions): Promise<Task> {
    const out = openSync(`${logPath}.out`, 'a')
    const err = openSync(`${logPath}.err`, 'a')
    try {
      // A session of its own: Ctrl-C at the terminal reaches the story first, which then ends its tasks in order.
      const child = spawn(argv[0] ?? '', argv.slice(1), {
        stdio: ['ignore', out, err],
        detached: true,
        cwd,
        env: { ...process.env, ...env }
      })
      await new Promise<void>((resolve, reject) => {
        child.once('spawn', resolve)
        child.once('error', reject)
      })
      child.unref()
      return new Task(argv, child, child.pid ?? 0, logPath)
    } finally {
      closeSync(out)
      closeSync(err)
    }
  }

  get running(): boolean {
    return this.#child.exitCode == null && this.#child.signalCode == null
  }

  get stdout(): string {
    return readFileSync(`${this.logPath}.out`, 'utf8')
  }

  get stderr(): string {
    return readFileSync(`${this.logPath}.err`, 'utf8')
  }

  /** Bytes of stdout and stderr so far. */
  get outputBytes(): number {
    return statSync(`${this.logPath}.out`).size + statSync(`${this.logPath}.err`).size
  }

  /** The JSON objects among the lines of stdout (`out`) or stderr (`err`); other lines are skipped. */
  json(from: 'out' | 'err' = 'out'): Array<Record<string, unknown>> {
    const found: Array<Record<string, unknown>> = []
    for (const line of (from === 'out' ? this.stdout : this.stderr).split('\n')) {
      if (!line.startsWith('{')) continue
      try {
        found.push(JSON.parse(line) as Record<string, unknown>)
      } catch {
        // A line that is still being written.
      }
    }
    return found
  }

  /** Waits for the first JSON line that `match` accepts. Rejects at once when the program ends without having said it. */
  async says(
    match: (line: Record<string, unknown>) => boolean,
    { from = 'out', timeoutMs = readyTimeoutMs }: { from?: 'out' | 'err' } & Partial<WaitOptions> = {}
  ): Promise<Record<string, unknown>> {
    let ended = false
    const found = await until(
      `a line of ${this.argv.join(' ')}`,
      () => {
        const line = this.json(from).find(match)
        if (line == null && !this.running) {
          ended = true
          return {}
        }
        return line
      },
      { timeoutMs }
    )
    if (ended) {
      throw new Error(`${this.argv.join(' ')} ended early: ${this.stderr.trim().slice(-2000)}`)
    }
    return found
  }

  kill(signal: NodeJS.Signals = 'SIGTERM'): void {
    this.#child.kill(signal)
  }

  /** Sends `signal`, then SIGKILL when it has not ended after `graceMs`. */
  async stop({ signal = 'SIGTERM', graceMs = 2000 }: { signal?: NodeJS.Signals; graceMs?: number } = {}): Promise<{
    code: number | null
    signal: NodeJS.Signals | null
  }> {
    this.kill(signal)
    await until('the end of a process', () => !this.running, { timeoutMs: graceMs }).catch(() => this.kill('SIGKILL'))
    return await this.exited
  }
}
