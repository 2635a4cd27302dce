import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { text } from 'node:stream/consumers'
import { runCli } from '../../src/api/cli/index.ts'
import { type Http, startHttp } from '../../src/api/http/server.ts'
import { type Logger, silentLogger } from '../../src/log.ts'
import { MemoryOperator } from './memory-operator.ts'

export interface Answer {
  status: number
  headers: Record<string, string | string[] | undefined>
  text: string
  // The tests say what they expect of it.
  // oxlint-disable-next-line typescript/no-explicit-any
  json: any
}

export interface Ran {
  exit: number
  out: string
  err: string
  // oxlint-disable-next-line typescript/no-explicit-any
  json: any
}

/** The real API on a socket of its own, in front of a {@link MemoryOperator}. `log` collects what it logs as errors. */
export class ApiHost {
  readonly directory = mkdtempSync(join(tmpdir(), 'arctic-api-'))
  readonly socket = join(this.directory, 'agent.sock')
  readonly operator = new MemoryOperator()
  readonly errors: object[] = []
  http!: Http

  static async start({ apiListen = null as string | null } = {}): Promise<ApiHost> {
    const host = new ApiHost()
    host.http = await startHttp({
      operator: host.operator,
      socketPath: host.socket,
      apiListen,
      stateDir: host.directory,
      log: host.#log(),
      version: '0.1.0'
    })
    return host
  }

  async stop(): Promise<void> {
    await this.http.stop()
    rmSync(this.directory, { recursive: true, force: true })
  }

  /** One request; `body` is sent as JSON unless it is a string or bytes, which go as they are. */
  async ask(
    method: string,
    path: string,
    body?: unknown,
    { headers = {}, tcp = false }: { headers?: Record<string, string>; tcp?: boolean } = {}
  ): Promise<Answer> {
    const asItIs = body === undefined || typeof body === 'string' || Buffer.isBuffer(body)
    const payload = asItIs ? body : JSON.stringify(body)
    const [host, port] = (this.http.tcpAddress ?? '').split(':')
    const sent = request({
      ...(tcp ? { host, port } : { socketPath: this.socket }),
      method,
      path,
      agent: false,
      headers: {
        // node:http frames no body of a DELETE by itself.
        ...(payload == null
          ? {}
          : { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(payload)) }),
        ...headers
      }
    })
    sent.end(payload)
    const [response] = await once(sent, 'response')
    const answered = await text(response)
    return { status: response.statusCode, headers: response.headers, text: answered, json: parse(answered) }
  }

  /** The CLI in this process, with this host's socket. */
  cli(args: string[], options: CliOptions = {}): Promise<Ran> {
    return this.startCli(args, options).done
  }

  startCli(args: string[], options: CliOptions = {}): ReturnType<typeof startCaptured> {
    return startCaptured(args, { ...options, env: { ARCTIC_SOCKET: this.socket, ...options.env } })
  }

  #log(): Logger {
    const log: Logger = {
      ...silentLogger,
      error: (fields) => void this.errors.push(fields),
      module: () => log
    }
    return log
  }
}

export interface CliOptions {
  env?: Record<string, string>
  /** Makes stdin and stdout terminals, and types this. */
  terminal?: string
  /** What is piped into stdin. */
  input?: string
}

/** The CLI in this process with captured output. */
export const runCaptured = (args: string[], options: CliOptions = {}): Promise<Ran> => startCaptured(args, options).done

/** The same, while it runs: `printed` is what stdout got so far, `interrupt` is Ctrl-C. */
export function startCaptured(
  args: string[],
  { env = {}, terminal, input = '' }: CliOptions = {}
): { done: Promise<Ran>; printed: () => string; interrupt: () => void } {
  const signals = new EventEmitter()
  const io = {
    stdin: Object.assign(new PassThrough(), { isTTY: terminal != null }),
    stdout: Object.assign(new PassThrough(), { isTTY: terminal != null }),
    stderr: new PassThrough(),
    once: (signal: string, listener: () => void) => signals.once(signal, listener),
    removeListener: (signal: string, listener: () => void) => signals.removeListener(signal, listener)
  }
  io.stdin.end(terminal ?? input)
  let out = ''
  let err = ''
  io.stdout.setEncoding('utf8').on('data', (chunk: string) => (out += chunk))
  io.stderr.setEncoding('utf8').on('data', (chunk: string) => (err += chunk))
  const run = async (): Promise<Ran> => {
    const exit = await runCli(args, env, io)
    const ended = Promise.all([once(io.stdout, 'end'), once(io.stderr, 'end')])
    io.stdout.end()
    io.stderr.end()
    await ended
    assert.equal(signals.listenerCount('SIGINT'), 0, 'the command leaves no signal handler behind')
    return { exit, out, err, json: parse(out) }
  }
  return { done: run(), printed: () => out, interrupt: () => signals.emit('SIGINT') }
}

function parse(printed: string): unknown {
  try {
    return JSON.parse(printed)
  } catch {
    return undefined
  }
}
