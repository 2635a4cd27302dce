import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Clock } from '../clock.ts'
import type { Logger } from '../log.ts'
import type { Random } from '../random.ts'
import { root } from '../root.ts'
import { ConfigFile, largeConfigLength } from './config-file.ts'
import type { DataplaneEvent, EngineStatus, HostKeys } from './desired.ts'
import { EngineProcess } from './engine-process.ts'
import type { Applied, EngineError, EngineEvent, EngineName, Listener } from './engine-protocol.ts'
import { engineState, type EngineState } from './engine-state.ts'
import { pegasusChange } from './pegasus-change.ts'
import type { PegasusState } from './pegasus.ts'
import { stateText } from './state-text.ts'
import type { TempestState } from './tempest.ts'

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

type EngineKeys = Pick<HostKeys, 'newest' | 'before'>

export interface EngineOutcome {
  ports: ReadonlyMap<string, number>
  errors: EngineError[]
}

const NAMES = ['pegasus', 'tempest'] as const

/** Both engines: their processes, what each was last told (on disk too), and the number of that state. */
export class Engines {
  readonly #log: Logger
  readonly #processes: Record<EngineName, EngineProcess>
  readonly #files: Record<EngineName, ConfigFile>
  #generation = 0
  #writtenIndexes = ''

  constructor(options: EnginesOptions) {
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
    const file = (engine: EngineName): ConfigFile =>
      new ConfigFile(join(options.stateDir, engine, 'config.json'), options.clock, (error) =>
        this.#log.warn({ engine, error: String(error) }, 'what the engine is told cannot be written down')
      )
    this.#files = { pegasus: file('pegasus'), tempest: file('tempest') }
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

  savedConfig = (name: EngineName): Promise<Record<string, unknown> | null> => this.#files[name].read()

  /** @throws never: a failure of the engine as a whole comes back as an error of object `engine` */
  applyPegasus(keys: EngineKeys, generation: number, state: PegasusState): Promise<EngineOutcome> {
    return this.#apply('pegasus', keys, generation, state, engineState(state, pegasusChange))
  }

  /** A tunnel is a few hundred bytes, and there are at most a few hundred: it is told all of them. */
  applyTempest(
    keys: EngineKeys,
    generation: number,
    state: TempestState,
    indexes: Record<string, number>
  ): Promise<EngineOutcome> {
    const text = JSON.stringify(indexes)
    // Connections are marked with them, so the next agent has to know them however this one ends.
    const atOnce = text !== this.#writtenIndexes
    this.#writtenIndexes = text
    return this.#apply('tempest', keys, generation, state, engineState(state), { extra: { indexes }, atOnce })
  }

  /** Tells an engine its state, and its keys, which go over the control socket and nowhere else. */
  async #apply(
    name: EngineName,
    { newest, before }: EngineKeys,
    generation: number,
    state: object,
    told: EngineState,
    { extra = {}, atOnce = false }: { extra?: object; atOnce?: boolean } = {}
  ): Promise<EngineOutcome> {
    const message = { generation, privateKey: newest[name], privateKeyBefore: before?.[name] ?? null, state: told }
    const text = (): string => {
      const line = told.text()
      // Of a large state the line that the engine gets will do; a smaller one is written for people.
      const fields = line.length > largeConfigLength ? line : stateText(state, '\n')
      return `${joined(stateText({ generation, ...extra }, '\n'), fields)}\n`
    }
    // Together: nothing that carries packets waits for a file, and a crash in between is met by telling both anew.
    const [applied] = await Promise.allSettled([
      this.#processes[name].apply(message),
      this.#files[name].write(text, { atOnce })
    ])
    if (applied.status === 'fulfilled') return outcome(applied.value)
    const failure = applied.reason instanceof Error ? applied.reason.message : String(applied.reason)
    return { ports: new Map(), errors: [{ object: 'engine', code: 'EngineUnavailable', message: failure }] }
  }

  async end(drainMs: number): Promise<void> {
    await Promise.all(NAMES.map((name) => this.#processes[name].end(drainMs)))
    await this.#flush()
  }

  async leave(): Promise<void> {
    await Promise.all(NAMES.map((name) => this.#processes[name].leave()))
    await this.#flush()
  }

  async #flush(): Promise<void> {
    await Promise.all(NAMES.map((name) => this.#files[name].flush()))
  }
}

/** One object with the fields of both. */
const joined = (first: string, second: string): string => `${first.slice(0, -1)},${second.slice(1)}`

const outcome = ({ listeners, errors }: Applied): EngineOutcome => ({ ports: portsOf(listeners), errors })

export const portsOf = (listeners: readonly Listener[] = []): Map<string, number> =>
  new Map(listeners.filter(({ port }) => port > 0).map(({ name, port }) => [name, port]))
