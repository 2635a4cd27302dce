import { randomUUID } from 'node:crypto'
import { createConnection, type Socket } from 'node:net'
import type { Clock, Timer } from '../clock.ts'
import {
  CHANGES_VERSION,
  PROTOCOL_VERSION,
  type Applied,
  type ApplyMessage,
  type EngineEvent,
  type Hello,
  type NotApplied
} from './engine-protocol.ts'
import type { EngineState } from './engine-state.ts'
import { engineApplyTimeoutMs, engineHelloTimeoutMs, engineLineBytesMax, engineStatsTimeoutMs } from './limits.ts'

/** The engine did not answer, answered something else, or went away. */
export class EngineGoneError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'EngineGoneError'
  }
}

/** It understood the line and does not do it. */
class EngineRefusedError extends EngineGoneError {}

interface Waiting {
  resolve: (message: never) => void
  reject: (error: Error) => void
  timer: Timer
}

interface InForce {
  name: string
  state: EngineState
}

type Message = { type: string; id?: number; generation?: number; code?: string; message?: string }

/** One connection to an engine's control socket. It ends once and for all; `EngineProcess` makes the next. */
export class EngineClient {
  readonly hello: Hello
  readonly #socket: Socket
  readonly #clock: Clock
  readonly #waiting = new Map<string, Waiting>()
  #requests = 0
  /** Begins the names of states, so that no two connections, of this agent or another, give one name to two of them. */
  readonly #tag = randomUUID()
  /** The state that this engine has told it has in force, by the name that it knows it by. */
  #inForce: InForce | null = null
  #onEvent: (event: EngineEvent) => void = () => {}
  #early: EngineEvent[] | null = []

  private constructor(socket: Socket, hello: Hello, clock: Clock) {
    this.#socket = socket
    this.hello = hello
    this.#clock = clock
  }

  /** Connects and waits for `hello`. @throws {EngineGoneError} when nobody listens or it is not an engine we understand */
  static connect(path: string, clock: Clock): Promise<EngineClient> {
    return new Promise((resolve, reject) => {
      const socket = createConnection(path)
      let client: EngineClient | null = null
      const fail = (why: string, cause?: unknown): void => {
        timer.cancel()
        socket.destroy()
        const error = new EngineGoneError(`control socket ${path}: ${why}`, { cause })
        if (client == null) reject(error)
        else client.#end(error)
      }
      const timer = clock.after(engineHelloTimeoutMs, () => fail('no hello in time'))
      const read = lineReader((line) => {
        const message = parseMessage(line)
        if (message == null) {
          fail('a line that is no JSON message')
        } else if (client != null) {
          client.#receive(message)
        } else if (message.type !== 'hello') {
          fail(`${message.type} before hello`)
        } else {
          timer.cancel()
          const hello = message as unknown as Hello
          if (hello.protocol !== PROTOCOL_VERSION) {
            fail(`it speaks protocol ${hello.protocol}, this agent ${PROTOCOL_VERSION}`)
            return
          }
          client = new EngineClient(socket, hello, clock)
          resolve(client)
        }
      })
      socket.on('data', (chunk: Buffer) => {
        if (!read(chunk)) fail('a line beyond the limit')
      })
      socket.once('error', (error) => fail(error.message, error))
      socket.once('close', () => fail('closed by the engine'))
    })
  }

  /** Takes over the engine's events, those that came before included. */
  onEvent(listener: (event: EngineEvent) => void): void {
    this.#onEvent = listener
    for (const event of this.#early ?? []) listener(event)
    this.#early = null
  }

  onClose(listener: () => void): void {
    if (this.#socket.closed) listener()
    else this.#socket.once('close', listener)
  }

  /**
   * Brings the engine to a state: by what differs from the one it has, where it knows how and that is known here, or else by the
   * whole of it.
   *
   * @throws {EngineGoneError}
   */
  async apply(message: ApplyMessage): Promise<Applied> {
    const base = this.#inForce
    const name = `${this.#tag}.${message.generation}`
    // Until it answers nobody knows what it has.
    this.#inForce = null
    const applied = (await this.#change(message, base, name)) ?? (await this.#tell(message, name))
    if (this.hello.changes === CHANGES_VERSION) this.#inForce = { name, state: message.state }
    return applied
  }

  /** Null where the whole state has to be told. */
  async #change(message: ApplyMessage, base: InForce | null, name: string): Promise<Applied | null> {
    const change = base == null ? null : message.state.since(base.state)
    if (base == null || change == null) return null
    const fields = { type: 'change', ...commonFields(message), base: base.name, name }
    try {
      const answer = await this.#ask<Applied | NotApplied>(message, `${openObject(fields)},"change":${change}}`)
      return answer.type === 'applied' ? answer : null
    } catch (error) {
      if (error instanceof EngineRefusedError) return null
      throw error
    }
  }

  #tell(message: ApplyMessage, name: string): Promise<Applied> {
    // An engine that knows no names would refuse a state with one.
    const named = this.hello.changes === CHANGES_VERSION ? { name } : {}
    const fields = { type: 'apply', ...commonFields(message), ...named }
    return this.#ask(message, `${openObject(fields)},"state":${message.state.text()}}`)
  }

  #ask<T>({ generation }: ApplyMessage, line: string): Promise<T> {
    return this.#request(`applied ${generation}`, line, engineApplyTimeoutMs)
  }

  /** @throws {EngineGoneError} */
  stats<T>(): Promise<T> {
    const id = ++this.#requests
    return this.#request(`stats ${id}`, JSON.stringify({ type: 'stats', id }), engineStatsTimeoutMs)
  }

  /** Open flows of a service. @throws {EngineGoneError} */
  flows<T>(query: { service_id: string; sort: string; limit: number }): Promise<T> {
    const id = ++this.#requests
    return this.#request(`flows ${id}`, JSON.stringify({ type: 'flows', id, ...query }), engineStatsTimeoutMs)
  }

  /** Another engine is at work in its place: it takes nothing new, and ends with its last flow. @throws {EngineGoneError} */
  standAside(): Promise<void> {
    return this.#request('standing_aside', JSON.stringify({ type: 'stand_aside' }), engineStatsTimeoutMs)
  }

  /** Asks the engine to end its flows and exit; it answers by closing. */
  drain(timeoutMs: number): void {
    this.#socket.write(`${JSON.stringify({ type: 'drain', timeout_ms: timeoutMs })}\n`)
  }

  close(): void {
    this.#socket.destroy()
  }

  #request<T>(key: string, line: string, timeoutMs: number): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#socket.destroyed) {
        reject(new EngineGoneError('the control socket is closed'))
        return
      }
      const timer = this.#clock.after(timeoutMs, () => {
        this.#waiting.delete(key)
        reject(new EngineGoneError(`no answer "${key}" within ${timeoutMs} ms`))
      })
      this.#waiting.set(key, { resolve, reject, timer })
      this.#socket.write(`${line}\n`)
    })
  }

  #receive(message: Message): void {
    if (message.type === 'event') {
      const event = message as unknown as EngineEvent
      if (this.#early == null) this.#onEvent(event)
      else this.#early.push(event)
    } else if (message.type === 'error') {
      this.#settleAll(new EngineRefusedError(`the engine refused: ${message.code ?? ''} ${message.message ?? ''}`))
    } else {
      const key = keyOf(message)
      const waiting = this.#waiting.get(key)
      this.#waiting.delete(key)
      waiting?.timer.cancel()
      waiting?.resolve(message as never)
    }
  }

  #end(error: Error): void {
    this.#settleAll(error)
  }

  /** An `error` line names no request, so whoever waits is told. */
  #settleAll(error: Error): void {
    const all = [...this.#waiting.values()]
    this.#waiting.clear()
    for (const { timer, reject } of all) {
      timer.cancel()
      reject(error)
    }
  }
}

const commonFields = ({ generation, privateKey, privateKeyBefore }: ApplyMessage): object => ({
  generation,
  secrets: {
    private_key: privateKey,
    ...(privateKeyBefore == null ? {} : { private_key_before: privateKeyBefore })
  }
})

/** JSON that wants one more field. */
const openObject = (fields: object): string => JSON.stringify(fields).slice(0, -1)

/** What a message answers. */
function keyOf({ type, generation, id }: Message): string {
  if (type === 'applied' || type === 'not_applied') return `applied ${generation}`
  return id == null ? type : `${type} ${id}`
}

/** Splits chunks at newlines; answers false when a line is beyond the limit. */
function lineReader(onLine: (line: string) => void): (chunk: Buffer) => boolean {
  let parts: Buffer[] = []
  let bytes = 0
  return (chunk) => {
    let from = 0
    for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, from)) {
      let line = chunk.toString('utf8', from, at)
      if (parts.length > 0) {
        line = Buffer.concat([...parts, chunk.subarray(from, at)]).toString('utf8')
        parts = []
        bytes = 0
      }
      from = at + 1
      onLine(line)
    }
    if (from < chunk.length) parts.push(chunk.subarray(from))
    bytes += chunk.length - from
    return bytes <= engineLineBytesMax
  }
}

function parseMessage(line: string): Message | null {
  try {
    const message = JSON.parse(line) as Message | null
    return message != null && typeof message === 'object' && typeof message.type === 'string' ? message : null
  } catch {
    return null
  }
}
