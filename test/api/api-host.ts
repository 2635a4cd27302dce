import { once } from 'node:events'
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
      log: host.#log(),
      version: '0.1.0'
    })
    return host
  }

  async stop(): Promise<void> {
    await this.http.stop()
    rmSync(this.directory, { recursive: true, force: true })
  }

  /** One request; `body` is sent as JSON unless it is a string, which goes as it is. */
  async ask(
    method: string,
    path: string,
    body?: unknown,
    { headers = {}, tcp = false }: { headers?: Record<string, string>; tcp?: boolean } = {}
  ): Promise<Answer> {
    const payload = body === undefined || typeof body === 'string' ? body : JSON.stringify(body)
    const [host, port] = (this.http.tcpAddress ?? '').split(':')
    const sent = request({
      ...(tcp ? { host, port } : { socketPath: this.socket }),
      method,
      path,
      agent: false,
      headers: { ...(payload == null ? {} : { 'content-type': 'application/json' }), ...headers }
    })
    sent.end(payload)
    const [response] = await once(sent, 'response')
    const answered = await text(response)
    return { status: response.statusCode, headers: response.headers, text: answered, json: parse(answered) }
  }

  /** The CLI in this process, with this host's socket. `terminal` answers questions with the text given. */
  async cli(
    args: string[],
    options: { env?: Record<string, string>; terminal?: string; input?: string } = {}
  ): Promise<Ran> {
    return runCaptured(args, { ...options, env: { ARCTIC_SOCKET: this.socket, ...options.env } })
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

/** The CLI in this process with captured output. */
export async function runCaptured(
  args: string[],
  { env = {}, terminal, input = '' }: { env?: Record<string, string>; terminal?: string; input?: string } = {}
): Promise<Ran> {
  const io = {
    stdin: Object.assign(new PassThrough(), { isTTY: terminal != null }),
    stdout: Object.assign(new PassThrough(), { isTTY: terminal != null }),
    stderr: new PassThrough(),
    once: () => {},
    removeListener: () => {}
  }
  io.stdin.end(terminal ?? input)
  const out = text(io.stdout)
  const err = text(io.stderr)
  const exit = await runCli(args, env, io)
  io.stdout.end()
  io.stderr.end()
  const printed = await out
  return { exit, out: printed, err: await err, json: parse(printed) }
}

function parse(printed: string): unknown {
  try {
    return JSON.parse(printed)
  } catch {
    return undefined
  }
}
