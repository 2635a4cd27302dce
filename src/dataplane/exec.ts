import { spawn } from 'node:child_process'
import { childOutputBytesMax, childTimeoutMs } from './limits.ts'

export interface ExecResult {
  code: number
  stdout: string
  stderr: string
}

/** A program that is not installed. */
export class ProgramMissingError extends Error {
  readonly program: string

  constructor(program: string) {
    super(`the program "${program}" is not installed or not in PATH`)
    this.name = 'ProgramMissingError'
    this.program = program
  }
}

/** A program that ran and failed. `stderr` is what it said. */
export class ProgramFailedError extends Error {
  readonly program: string
  readonly stderr: string

  constructor(program: string, { code, stderr }: ExecResult) {
    super(`${program} failed with exit ${code}: ${stderr.trim().slice(0, 2000) || 'it said nothing'}`)
    this.name = 'ProgramFailedError'
    this.program = program
    this.stderr = stderr
  }
}

export interface ExecOptions {
  input?: string
  signal?: AbortSignal
}

/**
 * Runs a program without a shell, feeds it `input`, and answers with what it said whatever its exit code.
 *
 * @throws {ProgramMissingError}
 */
export function run(
  program: string,
  args: readonly string[],
  { input = '', signal }: ExecOptions = {}
): Promise<ExecResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      stdio: ['pipe', 'pipe', 'pipe'],
      timeout: childTimeoutMs,
      killSignal: 'SIGKILL',
      ...(signal == null ? {} : { signal })
    })
    const output = { stdout: '', stderr: '' }
    for (const name of ['stdout', 'stderr'] as const) {
      child[name].setEncoding('utf8').on('data', (chunk: string) => {
        if (output[name].length + chunk.length <= childOutputBytesMax) output[name] += chunk
        else child.kill('SIGKILL')
      })
    }
    child.once('error', (error: NodeJS.ErrnoException) => {
      reject(error.code === 'ENOENT' ? new ProgramMissingError(program) : error)
    })
    child.once('close', (code, killedBy) => {
      const stderr = killedBy == null ? output.stderr : `${output.stderr}\nended by ${killedBy}`
      resolve({ code: code ?? -1, stdout: output.stdout, stderr })
    })
    // A child that exits without reading its input closes the pipe: its exit code tells the story.
    child.stdin.on('error', () => {})
    child.stdin.end(input)
  })
}

/** The same, but a non-zero exit throws. @throws {ProgramMissingError} @throws {ProgramFailedError} */
export async function runOrThrow(
  program: string,
  args: readonly string[],
  options: ExecOptions = {}
): Promise<ExecResult> {
  const result = await run(program, args, options)
  if (result.code !== 0) throw new ProgramFailedError(program, result)
  return result
}
