import { constants } from 'node:fs'
import { access, mkdir, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Clock, Timer } from '../clock.ts'
import { UnavailableError } from '../errors.ts'
import type { Logger } from '../log.ts'
import { jittered, type Random } from '../random.ts'
import type { EngineStatus } from './desired.ts'
import { isOtherBuild, launchEngine, type Launched, type Succeeded } from './engine-child.ts'
import { EngineClient } from './engine-client.ts'
import { tailEngineLog } from './engine-log.ts'
import {
  HAND_OVER_VERSION,
  type Applied,
  type ApplyMessage,
  type EngineEvent,
  type EngineName
} from './engine-protocol.ts'
import {
  engineDroppedAfterMs,
  engineExitGraceMs,
  engineExitPollMs,
  engineRestartMaxMs,
  engineRestartMinMs,
  engineStableAfterMs,
  unixPathBytesMax
} from './limits.ts'
import { Predecessors } from './predecessors.ts'

export interface EngineProcessOptions {
  engine: EngineName
  /** The engine's executable. */
  binary: string
  stateDir: string
  /**
   * How one of another build on disk takes the place of a running one: `at once`, where what is open in that one is nothing to
   * keep, or `beside` it, which hands over what is new and carries what it has to its end.
   */
  succession: 'at once' | 'beside'
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
 *
 * An engine of another build takes over with the first state that the agent tells: the successor has been started by then.
 * Either the one before ends first, and no packet waits longer than for a handshake; or the successor takes the listening
 * sockets from it, and the one before is kept, among the `Predecessors`, until it has no flow left.
 */
export class EngineProcess {
  readonly #options: EngineProcessOptions
  readonly #log: Logger
  readonly #dir: string
  readonly #socketPath: string
  /** Where a successor listens until it takes over. */
  readonly #nextPath: string
  #client: EngineClient | null = null
  #next: EngineClient | null = null
  #state: EngineStatus['state'] = 'stopped'
  #generation: number | null = null
  #restarts = 0
  #pauseMs = engineRestartMinMs
  #stopping = false
  #retry: Timer | null = null
  #endLog: (() => Promise<void>) | null = null
  readonly #predecessors: Predecessors

  constructor(options: EngineProcessOptions) {
    this.#options = options
    this.#log = options.log.module(options.engine)
    this.#dir = join(options.stateDir, options.engine)
    this.#socketPath = join(this.#dir, 'control.sock')
    this.#nextPath = join(this.#dir, 'control.next')
    this.#predecessors = new Predecessors({
      dir: this.#dir,
      log: this.#log,
      clock: options.clock,
      onEvent: options.onEvent,
      finish: (client, drainMs) => this.#finish(client, drainMs),
      isSucceeded: () => this.#client != null && this.#generation != null && this.#next == null
    })
  }

  get client(): EngineClient | null {
    return this.#client
  }

  /** The engine at work, and those before it that still have flows. */
  get clients(): EngineClient[] {
    return [...(this.#client == null ? [] : [this.#client]), ...this.#predecessors.clients]
  }

  get status(): EngineStatus {
    const hello = this.#client?.hello
    return {
      engine: this.#options.engine,
      pid: hello?.pid ?? null,
      state: this.#state,
      generation: this.#generation,
      version: hello?.version ?? null,
      restarts: this.#restarts,
      draining: this.#predecessors.status
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
    await this.#predecessors.find()
    const running = await this.#tidySuccession(await this.#connect())
    if (running != null) {
      this.#use(running, true)
      await this.#prepare(running)
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
    const succeeded = this.#next == null ? null : await this.#succeed(this.#next, message)
    const client = this.#client
    if (client == null) throw new UnavailableError(`${this.#options.engine} is not running; it is being started again`)
    const [applied] = await Promise.all([succeeded ?? client.apply(message), this.#predecessors.apply(message)])
    const failed = handOverFailure(applied)
    if (failed != null) {
      // Nothing is in force: it is started again, and asks again.
      await this.#kill(client.hello.pid)
      throw new UnavailableError(`${this.#options.engine} could not take over: ${failed}`)
    }
    if (client === this.#client) this.#generation = applied.generation
    return applied
  }

  /** Lets the engine run on without this agent. */
  async leave(): Promise<void> {
    this.#stopping = true
    this.#retry?.cancel()
    if (this.#next != null) await this.#finish(this.#next, 0)
    this.#next = null
    this.#predecessors.leave()
    this.#client?.close()
    this.#client = null
    this.#state = 'stopped'
    await this.#endLog?.()
  }

  /** Drains and ends the engine; one that does not go in time is killed. */
  async end(drainMs: number): Promise<void> {
    this.#stopping = true
    this.#retry?.cancel()
    if (this.#next != null) await this.#finish(this.#next, 0)
    this.#next = null
    const client = this.#client ?? (await this.#connect())
    await Promise.all([client == null ? null : this.#finish(client, drainMs), this.#predecessors.end(drainMs)])
    // One that took over does not know that the name is its own.
    if (client != null) await rm(this.#socketPath, { force: true })
    this.#client = null
    this.#state = 'stopped'
    await this.#endLog?.()
  }

  async #finish(client: EngineClient, drainMs: number): Promise<void> {
    const { clock } = this.#options
    client.drain(drainMs)
    const deadline = clock.monotonic() + drainMs + engineExitGraceMs
    while ((await this.#alive(client.hello.pid)) && clock.monotonic() < deadline) await clock.sleep(engineExitPollMs)
    await this.#kill(client.hello.pid)
    client.close()
  }

  #connect(): Promise<EngineClient | null> {
    return EngineClient.connect(this.#socketPath, this.#options.clock).catch(() => null)
  }

  async #spawn(): Promise<void> {
    const launched = await this.#launch(this.#socketPath, await this.#predecessors.atWork())
    if ('client' in launched) {
      this.#options.onStarted({ pid: launched.client.hello.pid, adopted: false })
      this.#use(launched.client, false)
    } else if (!this.#stopping) {
      this.#state = 'failed'
      this.#gone(`${this.#options.engine} did not start: ${launched.ended}`)
    }
  }

  #launch(socketPath: string, succeeds: Succeeded | null): Promise<Launched> {
    const { binary, clock } = this.#options
    const logPath = join(this.#dir, 'engine.log')
    return launchEngine({ binary, socketPath, logPath, succeeds }, { clock, wanted: () => !this.#stopping })
  }

  /**
   * Of an adopted engine that is another build than the one on disk, the successor is started beside it, so that only one
   * that can run ever takes over. It carries nothing before it is told its state.
   */
  async #prepare(running: EngineClient): Promise<void> {
    const { binary, succession } = this.#options
    const { pid, hand_over, workers } = running.hello
    if (!(await isOtherBuild(pid, binary))) return
    if (succession === 'beside' && hand_over !== HAND_OVER_VERSION) {
      this.#log.warn(
        { pid },
        'the running engine is of another build and cannot hand over to the one on disk; it goes on'
      )
      return
    }
    const succeeds = succession === 'beside' ? { path: this.#socketPath, workers } : null
    const launched = await this.#launch(this.#nextPath, succeeds)
    if ('client' in launched) {
      this.#next = launched.client
      this.#log.info({ pid: launched.client.hello.pid }, 'an engine of another build is ready to take over')
    } else {
      this.#log.warn(
        { binary, reason: launched.ended },
        'the engine on disk is another build and did not start; the running one goes on'
      )
    }
  }

  /** Answers what the successor has applied where it had to be told its state to take over. */
  async #succeed(next: EngineClient, message: ApplyMessage): Promise<Applied | null> {
    this.#next = null
    const before = this.#client
    let applied: Applied | null = null
    if (this.#options.succession === 'beside') {
      const told = await next.apply(message).catch((error: unknown) => String(error))
      const failed = typeof told === 'string' ? told : handOverFailure(told)
      if (typeof told === 'string' || failed != null) {
        this.#log.warn({ reason: failed }, 'the engine on disk could not take over; the running one goes on')
        await this.#finish(next, 0)
        return null
      }
      applied = told
      if (before != null) await this.#setAside(before)
    } else {
      this.#client = null
      // All that is left to do then is to tell the successor its state.
      if (before != null) await this.#finish(before, 0)
    }
    await rename(this.#nextPath, this.#socketPath)
    this.#options.onStarted({ pid: next.hello.pid, adopted: false })
    this.#use(next, false)
    return applied
  }

  /** It is at work no more, but for its flows. */
  async #setAside(before: EngineClient): Promise<void> {
    const path = Predecessors.path(this.#dir, before.hello.pid)
    await rename(this.#socketPath, path)
    this.#client = null
    this.#predecessors.add({ path, client: before })
  }

  /** What a killed agent left of a succession: the one that serves the name is at work, unless it has handed over. */
  async #tidySuccession(running: EngineClient | null): Promise<EngineClient | null> {
    const next = await EngineClient.connect(this.#nextPath, this.#options.clock).catch(() => null)
    if (next == null) return running
    if (running != null && running.hello.has_successor !== true) {
      await this.#finish(next, 0)
      return running
    }
    if (running != null) await this.#setAside(running)
    await rename(this.#nextPath, this.#socketPath)
    return next
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
      const livedMs = clock.monotonic() - since
      if (livedMs > engineStableAfterMs) this.#pauseMs = engineRestartMinMs
      void this.#closed(client.hello.pid, livedMs)
    })
    onReady()
  }

  /**
   * It may only have dropped this connection, as it does with one that is not read for too long. Then it carries on, and nobody is
   * told that it is gone; one that drops them again and again is.
   */
  async #closed(pid: number, livedMs: number): Promise<void> {
    const running = livedMs > engineDroppedAfterMs ? await this.#connect() : null
    if (this.#stopping || this.#client != null) running?.close()
    else if (running == null) this.#gone(`engine with pid ${pid} closed its control socket`, pid)
    else {
      this.#log.warn({ pid }, 'the engine had dropped the connection to this agent')
      this.#use(running, true)
    }
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
    // A successor may be at work by now.
    if (this.#stopping || this.#client != null) return
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
      const words = (await readFile(`/proc/${pid}/cmdline`, 'utf8')).split('\0')
      return words.includes(this.#socketPath) || words.includes(this.#nextPath)
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

/** Why it has not taken over, if so: then nothing of the state is in force. */
const handOverFailure = ({ errors }: Applied): string | null =>
  errors.find(({ code }) => code === 'HandOverFailed')?.message ?? null
