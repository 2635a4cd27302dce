import { spawn, spawnSync } from 'node:child_process'
import { commandOutputBytesMax, commandTimeoutMs } from './limits.ts'

export interface CommandResult {
  argv: readonly string[]
  /** null when a signal ended it. */
  code: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
}

export interface CommandOptions {
  input?: string
  env?: Record<string, string>
  cwd?: string
  timeoutMs?: number
  signal?: AbortSignal
}

/** A command that had to succeed did not. The message holds the command and what it said. */
export class CommandFailedError extends Error {
  readonly result: CommandResult

  constructor(result: CommandResult) {
    const said = (result.stderr.trim() || result.stdout.trim()).slice(0, 2000)
    super(`${result.argv.join(' ')}: ${result.signal ?? `exit ${result.code}`}${said === '' ? '' : `: ${said}`}`)
    this.name = 'CommandFailedError'
    this.result = result
  }
}

/** Runs a command to its end. A non-zero exit is a result; it rejects only when the program cannot be started. */
export function attempt(argv: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(argv[0] ?? '', argv.slice(1), {
      stdio: 'pipe',
      cwd: options.cwd,
      timeout: options.timeoutMs ?? commandTimeoutMs,
      killSignal: 'SIGKILL',
      signal: options.signal,
      env: { ...process.env, ...options.env }
    })
    const out: Buffer[] = []
    const err: Buffer[] = []
    let bytes = 0
    const keep = (to: Buffer[]) => (chunk: Buffer) => {
      bytes += chunk.length
      if (bytes > commandOutputBytesMax) child.kill('SIGKILL')
      else to.push(chunk)
    }
    child.stdout.on('data', keep(out))
    child.stderr.on('data', keep(err))
    // A program that does not read its input closes the pipe early; that is not this caller's failure.
    child.stdin.on('error', () => {})
    child.stdin.end(options.input ?? '')
    child.on('error', reject)
    child.on('close', (code, signal) => {
      resolve({ argv, code, signal, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString() })
    })
  })
}

/** Runs a command that has to succeed and returns its stdout. Rejects with {@link CommandFailedError}. */
export async function run(argv: readonly string[], options: CommandOptions = {}): Promise<string> {
  const result = await attempt(argv, options)
  if (result.code !== 0) throw new CommandFailedError(result)
  return result.stdout
}

/** The same without waiting for the event loop: cleaning up has to work while the process exits. Never throws. */
export function runNow(argv: readonly string[]): { code: number | null; stdout: string } {
  const { status, stdout } = spawnSync(argv[0] ?? '', argv.slice(1), { encoding: 'utf8', timeout: commandTimeoutMs })
  return { code: status, stdout: stdout ?? '' }
}

/** Whether a program of this name is on PATH, or where Debian puts root's programs. */
export function available(program: string): boolean {
  return runNow(['sh', '-c', `PATH="$PATH:/usr/sbin:/sbin" command -v "$1"`, 'sh', program]).code === 0
}
