import type { IncomingMessage, RequestOptions } from 'node:http'
import type { TLSSocket } from 'node:tls'
import type { Clock } from '../../clock.ts'
import { request as httpRequest } from '../../node-http.ts'
import { Failure, failureOfAnswer } from './failure.ts'
import { answerBytesMax, pageRowsMax, requestTimeoutMs } from './limits.ts'
import type { Target } from './target.ts'
import { explainUnreachable } from './unreachable.ts'

type QueryValue = string | number | boolean | null | undefined

export interface AskOptions {
  query?: Readonly<Record<string, QueryValue>>
  headers?: Readonly<Record<string, string>>
  body?: unknown
  timeoutMs?: number
}

export interface ServerEvent {
  type: string
  data: unknown
}

/** The HTTP API as the CLI speaks to it. Every failure is a `Failure` that says what to do. */
export class Client {
  readonly #target: Target
  readonly #clock: Clock
  readonly #signal: AbortSignal

  constructor(target: Target, { clock, signal }: { clock: Clock; signal: AbortSignal }) {
    this.#target = target
    this.#clock = clock
    this.#signal = signal
  }

  get<T>(path: string, options: AskOptions = {}): Promise<T> {
    return this.#ask('GET', path, options)
  }

  /** A list, page by page to its end unless `query` has its own `limit`. */
  async list<T>(path: string, { query = {} }: Pick<AskOptions, 'query'> = {}): Promise<T[]> {
    if (query['limit'] != null) return this.get(path, { query })
    const rows: T[] = []
    let after: string | undefined
    do {
      const { body, headers } = await this.exchange('GET', path, {
        query: { ...query, limit: pageRowsMax, after }
      })
      for (const row of body as T[]) rows.push(row)
      const next = headers['next-page-token']?.toString()
      // An agent that sends us in a circle is not followed.
      after = next != null && next > (after ?? '') ? next : undefined
    } while (after != null)
    return rows
  }

  post<T>(path: string, body: unknown, options: AskOptions = {}): Promise<T> {
    return this.#ask('POST', path, { ...options, body })
  }

  put<T>(path: string, body: unknown, options: AskOptions = {}): Promise<T> {
    return this.#ask('PUT', path, { ...options, body })
  }

  async delete(path: string, options: AskOptions = {}): Promise<void> {
    await this.#ask('DELETE', path, options)
  }

  /** The agent's events until the signal aborts or the agent ends the stream. The first one is `open`. */
  events(types: string, { signal }: { signal: AbortSignal }): AsyncGenerator<ServerEvent> {
    return this.stream('/v1/events', { query: { types }, signal })
  }

  /** Server-sent events of any path, likewise. */
  async *stream(
    path: string,
    { query, signal }: Pick<AskOptions, 'query'> & { signal: AbortSignal }
  ): AsyncGenerator<ServerEvent> {
    const response = await this.#send('GET', `${path}${queryText(query)}`, { signal })
    if (response.statusCode !== 200) throw await this.#failure(response)
    yield { type: 'open', data: null }
    response.setEncoding('utf8')
    let pending = ''
    for await (const chunk of whole<string>(response)) {
      pending += chunk
      const blocks = pending.split('\n\n')
      pending = blocks.pop() ?? ''
      for (const block of blocks) {
        const event = decodeEvent(block)
        if (event != null) yield event
      }
    }
  }

  async #ask<T>(method: string, path: string, options: AskOptions): Promise<T> {
    return (await this.exchange(method, path, options)).body as T
  }

  /** One request, for who needs the answer's headers too. */
  async exchange(
    method: string,
    path: string,
    { query, body, headers = {}, timeoutMs = requestTimeoutMs }: AskOptions = {}
  ): Promise<{ body: unknown; headers: IncomingMessage['headers'] }> {
    const deadline = new AbortController()
    const timer = this.#clock.after(timeoutMs, () =>
      deadline.abort(
        new Failure('unavailable', `${this.#where()} did not answer within ${timeoutMs / 1000} s; look at its log`)
      )
    )
    try {
      const signal = AbortSignal.any([this.#signal, deadline.signal])
      const response = await this.#send(method, `${path}${queryText(query)}`, { body, headers, signal })
      const status = response.statusCode ?? 0
      if (status < 200 || status > 299) throw await this.#failure(response)
      const text = await readText(response)
      return {
        body: text === '' ? undefined : parseJson(text, this.#where()),
        headers: response.headers
      }
    } catch (error) {
      throw deadline.signal.aborted ? deadline.signal.reason : error
    } finally {
      timer.cancel()
    }
  }

  async #failure(response: IncomingMessage): Promise<Failure> {
    const text = await readText(response)
    let body: unknown
    try {
      body = JSON.parse(text)
    } catch {
      body = null
    }
    return failureOfAnswer(response.statusCode ?? 0, body, this.#where())
  }

  async #send(
    method: string,
    path: string,
    { body, headers: given = {}, signal }: { body?: unknown; headers?: AskOptions['headers']; signal: AbortSignal }
  ): Promise<IncomingMessage> {
    const target = this.#target
    const payload = body === undefined ? undefined : JSON.stringify(body)
    const headers: Record<string, string | number> = {
      accept: 'application/json, text/event-stream',
      ...given
    }
    if (payload != null) {
      headers['content-type'] = 'application/json'
      headers['content-length'] = Buffer.byteLength(payload)
    }
    const options: RequestOptions = { method, path, headers, signal, agent: false }
    let send = httpRequest
    if (target.kind === 'socket') {
      options.socketPath = target.path
      headers['host'] = 'localhost'
    } else {
      const { url, token, fingerprint } = target
      options.hostname = url.hostname.replace(/^\[(.*)\]$/, '$1')
      options.port = url.port
      options.path = `${url.pathname.replace(/\/$/, '')}${path}`
      if (token != null) headers['authorization'] = `Bearer ${token}`
      if (fingerprint != null) {
        const socket = await this.#pinned(url, fingerprint, signal)
        options.createConnection = () => socket
        options.agent = undefined
        headers['host'] = url.host
      } else if (url.protocol === 'https:') send = (await import('node:https')).request
    }
    return new Promise((resolve, reject) => {
      const request = send(options)
      request.once('response', resolve)
      request.on('error', (error: NodeJS.ErrnoException) =>
        reject(signal.aborted ? signal.reason : explainUnreachable(error, target))
      )
      request.end(payload)
    })
  }

  async #pinned(url: URL, fingerprint: string, signal: AbortSignal): Promise<TLSSocket> {
    const { connectPinned } = await import('./pinned.ts')
    try {
      return await connectPinned(url, fingerprint, signal)
    } catch (error) {
      if (signal.aborted) throw signal.reason
      throw error instanceof Failure ? error : explainUnreachable(error as NodeJS.ErrnoException, this.#target)
    }
  }

  #where(): string {
    return this.#target.kind === 'socket' ? `socket ${this.#target.path}` : this.#target.url.href
  }
}

function queryText(query: NonNullable<AskOptions['query']> = {}): string {
  const pairs = Object.entries(query).flatMap(([name, value]): Array<[string, string]> =>
    value == null ? [] : [[name, String(value)]]
  )
  return pairs.length === 0 ? '' : `?${new URLSearchParams(pairs).toString()}`
}

async function readText(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of whole<Buffer>(response)) {
    bytes += chunk.length
    if (bytes > answerBytesMax) throw new Failure('internal', `the answer exceeds ${answerBytesMax} bytes; narrow it`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

/** What is read of an answer. One whose agent ends in the middle of it is no bug of the command. */
async function* whole<T>(response: IncomingMessage): AsyncGenerator<T> {
  try {
    yield* response as AsyncIterable<T>
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ECONNRESET') throw error
    throw new Failure(
      'unavailable',
      'the connection broke off in the middle of an answer; ask again when the agent is back'
    )
  }
}

function parseJson(text: string, where: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw new Failure('unavailable', `${where} did not answer with JSON; is it an arctic agent?`)
  }
}

function decodeEvent(block: string): ServerEvent | null {
  let type = 'message'
  let data = ''
  for (const line of block.split('\n')) {
    if (line.startsWith('event: ')) type = line.slice(7)
    if (line.startsWith('data: ')) data += line.slice(6)
  }
  return data === '' ? null : { type, data: parseJson(data, 'the event stream') }
}
