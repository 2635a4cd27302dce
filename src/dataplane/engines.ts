import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Clock } from '../clock.ts'
import type { Logger } from '../log.ts'
import type { Random } from '../random.ts'
import { root } from '../root.ts'
import { readConfig, writeConfig } from './config-file.ts'
import type { DataplaneEvent, EngineStatus, HostKeys } from './desired.ts'
import { EngineProcess } from './engine-process.ts'
import type { Applied, EngineError, EngineEvent, EngineName, Listener } from './engine-protocol.ts'
import { stateText } from './state-text.ts'

export interface EnginesOptions {
  stateDir: string
  /** Where the executables are; the checkout's release build when not given. */
  enginesDir?: string
  log: Logger
  clock: Clock
  random: Random
  emit: (event: DataplaneEvent) => void
  onEngineEvent: (engine: EngineName, event: EngineEvent) => void
  onReady: (engine: EngineName) => void
}

export interface EngineOutcome {
  ports: ReadonlyMap<string, number>
  errors: EngineError[]
}

const NAMES = ['pegasus', 'tempest'] as const

/** Both engines: their processes, what each was last told (on disk too), and the number of that state. */
export class Engines {
  readonly #options: EnginesOptions
  readonly #log: Logger
  readonly #processes: Record<EngineName, EngineProcess>
  #generation = 0

  constructor(options: EnginesOptions) {
    this.#options = options
    this.#log = options.log.module('dataplane')
    const dir = options.enginesDir ?? fileURLToPath(new URL('engines/target/release', root))
    const process = (engine: EngineName): EngineProcess =>
      new EngineProcess({
        engine,
        binary: resolve(dir, engine),
        stateDir: options.stateDir,
        // Tunnels need a handshake to go on, flows their engine.
        succession: engine === 'tempest' ? 'at once' : 'beside',
        log: options.log,
        clock: options.clock,
        random: options.random,
        onEvent: (event) => options.onEngineEvent(engine, event),
        onStarted: ({ pid, adopted }) => options.emit({ type: 'engine.started', engine, pid, adopted }),
        onReady: () => {
          options.emit({ type: 'engine.ready', engine })
          options.onReady(engine)
        },
        onExited: (reason) => options.emit({ type: 'engine.exited', engine, reason })
      })
    this.#processes = { pegasus: process('pegasus'), tempest: process('tempest') }
  }

  get pegasus(): EngineProcess {
    return this.#processes.pegasus
  }

  get tempest(): EngineProcess {
    return this.#processes.tempest
  }

  get generation(): number {
    return this.#generation
  }

  status = (): EngineStatus[] => NAMES.map((name) => this.#processes[name].status)

  /** Starts or adopts both. @throws {UnavailableError} when one cannot ever be started */
  async start(): Promise<void> {
    const results = await Promise.allSettled(NAMES.map((name) => this.#processes[name].start()))
    const failed = results.find((result) => result.status === 'rejected')
    if (failed != null) {
      await Promise.allSettled(NAMES.map((name) => this.#processes[name].end(0)))
      throw failed.reason
    }
    for (const name of NAMES) {
      const saved = Number((await this.savedConfig(name))?.['generation'] ?? 0)
      this.#generation = Math.max(this.#generation, Number.isSafeInteger(saved) ? saved : 0)
      this.#generation = Math.max(this.#generation, this.#processes[name].status.generation ?? 0)
    }
  }

  nextGeneration = (): number => ++this.#generation

  savedConfig = (name: EngineName): Promise<Record<string, unknown> | null> => readConfig(this.#configPath(name))

  /** Tells an engine its state, and its keys, which go over the control socket and nowhere else. A failure of the engine as a whole comes back as an error of object `engine`. */
  async apply(
    name: EngineName,
    { newest, before }: Pick<HostKeys, 'newest' | 'before'>,
    generation: number,
    state: object,
    extra: object = {}
  ): Promise<EngineOutcome> {
    const text = stateText(state, '')
    // Of a large state the line that the engine gets will do; a smaller one is written for people.
    const file = joined(
      stateText({ generation, ...extra }, '\n'),
      text.length > lineBytes ? text : stateText(state, '\n')
    )
    // Together: nothing that carries packets waits for a file, and a crash in between is met by telling both anew.
    const [told, kept] = await Promise.allSettled([
      this.#processes[name].apply({
        generation,
        privateKey: newest[name],
        privateKeyBefore: before?.[name] ?? null,
        state: text
      }),
      writeConfig(this.#configPath(name), `${file}\n`)
    ])
    if (kept.status === 'rejected') {
      this.#log.warn({ engine: name, error: String(kept.reason) }, 'what the engine is told cannot be written down')
    }
    if (told.status === 'fulfilled') return outcome(told.value)
    const message = told.reason instanceof Error ? told.reason.message : String(told.reason)
    return { ports: new Map(), errors: [{ object: 'engine', code: 'EngineUnavailable', message }] }
  }

  async end(drainMs: number): Promise<void> {
    await Promise.all(NAMES.map((name) => this.#processes[name].end(drainMs)))
  }

  async leave(): Promise<void> {
    await Promise.all(NAMES.map((name) => this.#processes[name].leave()))
  }

  #configPath = (name: EngineName): string => join(this.#options.stateDir, name, 'config.json')
}

/** Above this nobody reads it from top to bottom, characters. */
const lineBytes = 256 * 1024

/** One object with the fields of both. */
const joined = (first: string, second: string): string => `${first.slice(0, -1)},${second.slice(1)}`

const outcome = ({ listeners, errors }: Applied): EngineOutcome => ({ ports: portsOf(listeners), errors })

export const portsOf = (listeners: readonly Listener[] = []): Map<string, number> =>
  new Map(listeners.filter(({ port }) => port > 0).map(({ name, port }) => [name, port]))
