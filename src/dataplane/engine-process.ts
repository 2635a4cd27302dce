import { spawn } from 'node:child_process'
import { constants } from 'node:fs'
import { access, mkdir, open, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Clock, Timer } from '../clock.ts'
import { UnavailableError } from '../errors.ts'
import type { Logger } from '../log.ts'
import { jittered, type Random } from '../random.ts'
import type { EngineStatus } from './desired.ts'
import { EngineClient } from './engine-client.ts'
import { tailEngineLog } from './engine-log.ts'
import type { Applied, ApplyMessage, EngineEvent, EngineName } from './engine-protocol.ts'
import {
  engineConnectRetryMs,
  engineExitGraceMs,
  engineRestartMaxMs,
  engineRestartMinMs,
  engineStableAfterMs,
  engineStartTimeoutMs,
  unixPathBytesMax
} from './limits.ts'

export interface EngineProcessOptions {
  engine: EngineName
  /** The engine's executable. */
  binary: string
  stateDir: string
  log: Logger
  clock: Clock
  random: Random
  onEvent: (event: EngineEvent) => void
  onStarted: (started: { pid: number; adopted: boolean }) => void
  /** It runs and has said hello; it wants its state. */
  onReady: () => void
  onExited: (reason: string) => void
}

/**
 * One engine, kept alive. It is a process of its own session with its log in a file, so that it outlives the agent; one that
 * already listens is adopted.
 *
 *   stopped ─ start ─► starting ─ hello ─► ready ─ gone ─► starting (after a pause that doubles) …
 *                         └── cannot be started: failed, tried again after the pause
 */
export class EngineProcess {
  readonly #options: EngineProcessOptions
  readonly #log: Logger
  readonly #dir: string
  readonly #socketPath: string
  #client: EngineClient | null = null
  #state: EngineStatus['state'] = 'stopped'
  #generation: number | null = null
  #restarts = 0
  #pauseMs = engineRestartMinMs
  #stopping = false
  #retry: Timer | null = null
  #endLog: (() => Promise<void>) | null = null

  constructor(options: EngineProcessOptions) {
    this.#options = options
    this.#log = options.log.module(options.engine)
    this.#dir = join(options.stateDir, options.engine)
    this.#socketPath = join(this.#dir, 'control.sock')
  }

  get client(): EngineClient | null {
    return this.#client
  }

  get status(): EngineStatus {
    const hello = this.#client?.hello
    return {
      engine: this.#options.engine,
      pid: hello?.pid ?? null,
      state: this.#state,
      generation: this.#generation,
      version: hello?.version ?? null,
      restarts: this.#restarts
    }
  }

  /**
   * Adopts or starts the engine and resolves when it is ready, or when the first try failed (it goes on trying).
   *
   * @throws {UnavailableError} when the socket path is too long or the executable is missing
   */
  async start(): Promise<void> {
    const bytes = Buffer.byteLength(this.#socketPath)
    if (bytes > unixPathBytesMax) {
      throw new UnavailableError(
        `the control socket ${this.#socketPath} has ${bytes} bytes, a unix socket path at most ${unixPathBytesMax}; choose a shorter --state-dir`,
        { reason: 'SocketPathTooLong' }
      )
    }
    await mkdir(this.#dir, { recursive: true, mode: 0o700 })
    this.#endLog = await tailEngineLog(
      join(this.#dir, 'engine.log'),
      this.#options.engine,
      this.#options.clock,
      this.#options.log
    )
    this.#stopping = false
    this.#state = 'starting'
    const running = await this.#connect()
    if (running != null) {
      this.#use(running, true)
      return
    }
    try {
      await access(this.#options.binary, constants.X_OK)
    } catch {
      await this.#endLog()
      throw new UnavailableError(
        `the engine ${this.#options.binary} is missing; build it with "npm run setup", or say where it is with ARCTIC_ENGINES`,
        { reason: 'EngineMissing' }
      )
    }
    await this.#spawn()
  }

  /** @throws {EngineGoneError} */
  async apply(message: ApplyMessage): Promise<Applied> {
    const client = this.#client
    if (client == null) throw new UnavailableError(`${this.#options.engine} is not running; it is being started again`)
    const applied = await client.apply(message)
    if (client === this.#client) this.#generation = applied.generation
    return applied
  }

  /** Lets the engine run on without this agent. */
  async leave(): Promise<void> {
    this.#stopping = true
    this.#retry?.cancel()
    this.#client?.close()
    this.#client = null
    this.#state = 'stopped'
    await this.#endLog?.()
  }

  /** Drains and ends the engine; one that does not go in time is killed. */
  async end(drainMs: number): Promise<void> {
    const { clock } = this.#options
    this.#stopping = true
    this.#retry?.cancel()
    const client = this.#client ?? (await this.#connect())
    if (client != null) {
      client.drain(drainMs)
      const deadline = clock.monotonic() + drainMs + engineExitGraceMs
      while ((await this.#alive(client.hello.pid)) && clock.monotonic() < deadline) await clock.sleep(20)
      await this.#kill(client.hello.pid)
      client.close()
    }
    this.#client = null
    this.#state = 'stopped'
    await this.#endLog?.()
  }

  #connect(): Promise<EngineClient | null> {
    return EngineClient.connect(this.#socketPath, this.#options.clock).catch(() => null)
  }

  async #spawn(): Promise<void> {
    const { engine, binary, clock, onStarted } = this.#options
    const logFile = await open(join(this.#dir, 'engine.log'), 'a', 0o600)
    const child = spawn(binary, ['--control', this.#socketPath], {
      detached: true,
      cwd: '/',
      stdio: ['ignore', logFile.fd, logFile.fd]
    })
    const fate: { ended: string | null } = { ended: null }
    child.once('error', (error) => (fate.ended = error.message))
    child.once('exit', (code, signal) => (fate.ended = signal ?? `exit ${code}`))
    child.unref()
    await logFile.close()

    const deadline = clock.monotonic() + engineStartTimeoutMs
    while (fate.ended == null && clock.monotonic() < deadline && !this.#stopping) {
      const client = await this.#connect()
      if (client != null) {
        onStarted({ pid: client.hello.pid, adopted: false })
        this.#use(client, false)
        return
      }
      await clock.sleep(engineConnectRetryMs)
    }
    if (this.#stopping) return
    if (fate.ended == null) child.kill('SIGKILL')
    this.#state = 'failed'
    this.#gone(`${engine} did not start: ${fate.ended ?? `no hello within ${engineStartTimeoutMs} ms`}`)
  }

  #use(client: EngineClient, adopted: boolean): void {
    const { clock, onEvent, onReady, onStarted } = this.#options
    const since = clock.monotonic()
    this.#client = client
    this.#state = 'ready'
    this.#generation = client.hello.generation
    if (adopted) onStarted({ pid: client.hello.pid, adopted })
    this.#log.info(
      { pid: client.hello.pid, version: client.hello.version, adopted },
      adopted ? 'running engine adopted' : 'engine started'
    )
    client.onEvent(onEvent)
    client.onClose(() => {
      if (this.#stopping || client !== this.#client) return
      this.#client = null
      this.#state = 'starting'
      if (clock.monotonic() - since > engineStableAfterMs) this.#pauseMs = engineRestartMinMs
      this.#gone(`engine with pid ${client.hello.pid} closed its control socket`, client.hello.pid)
    })
    onReady()
  }

  /** The engine went away or never came: after a pause it is looked for, and started when it is not there. */
  #gone(reason: string, pid?: number): void {
    const { clock, random, onExited } = this.#options
    this.#log.warn({ reason, pause_ms: Math.round(this.#pauseMs) }, 'engine is gone, starting it again')
    onExited(reason)
    this.#retry = clock.after(jittered(random, this.#pauseMs), () => {
      void this.#again(pid).catch((error: unknown) => this.#gone(String(error)))
    })
    this.#pauseMs = Math.min(this.#pauseMs * 2, engineRestartMaxMs)
  }

  async #again(pid: number | undefined): Promise<void> {
    if (this.#stopping) return
    // It may only have dropped this connection.
    const running = await this.#connect()
    if (running != null) {
      this.#use(running, true)
      return
    }
    if (pid != null) await this.#kill(pid)
    this.#restarts++
    await this.#spawn()
  }

  /** Whether that pid is (still) this engine: pids are reused, command lines with our socket are not. */
  async #alive(pid: number): Promise<boolean> {
    try {
      return (await readFile(`/proc/${pid}/cmdline`, 'utf8')).split('\0').includes(this.#socketPath)
    } catch {
      return false
    }
  }

  async #kill(pid: number): Promise<void> {
    if (!(await this.#alive(pid))) return
    try {
      process.kill(pid, 'SIGKILL')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
    }
  }
}
