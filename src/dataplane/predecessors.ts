import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Clock } from '../clock.ts'
import type { Logger } from '../log.ts'
import type { DrainingEngine } from './desired.ts'
import { EngineClient } from './engine-client.ts'
import type { ApplyMessage, EngineEvent } from './engine-protocol.ts'
import { orphanLookMs } from './limits.ts'

export interface PredecessorsOptions {
  /** Where their sockets stand. */
  dir: string
  log: Logger
  clock: Clock
  onEvent: (event: EngineEvent) => void
  /** Drains and ends one; kills it when it does not go in time. */
  finish: (client: EngineClient, drainMs: number) => Promise<void>
  /** Whether the engine in their place has its state in force: then none of them has reason to be at work. */
  isSucceeded: () => boolean
}

interface Predecessor {
  path: string
  client: EngineClient
}

/** `old.PID`, shorter than the name that the engine at work has: a path that was long enough for that one is for this. */
const NAME = /^old\.\d+$/

/**
 * Engines whose place another build has taken: they carry the flows that they have to their end, and then end by themselves.
 * Until then they are told every state, so that what is revoked, removed or limited is so for their flows as well.
 */
export class Predecessors {
  readonly #options: PredecessorsOptions
  #all: Predecessor[] = []
  #stopping = false

  constructor(options: PredecessorsOptions) {
    this.#options = options
  }

  static path = (dir: string, pid: number): string => join(dir, `old.${pid}`)

  get clients(): EngineClient[] {
    return this.#all.map(({ client }) => client)
  }

  get status(): DrainingEngine[] {
    return this.#all.map(({ client: { hello } }) => ({ pid: hello.pid, version: hello.version }))
  }

  /** Finds those that an agent before this one has left, and removes what dead ones have. */
  async find(): Promise<void> {
    this.#stopping = false
    for (const name of await readdir(this.#options.dir)) {
      if (!NAME.test(name)) continue
      const path = join(this.#options.dir, name)
      const client = await this.#connect(path)
      if (client == null) await rm(path, { force: true })
      else this.add({ path, client })
    }
  }

  /** One whose socket stands at `path` now. */
  add(one: Predecessor): void {
    const { log, onEvent } = this.#options
    this.#all.push(one)
    one.client.onEvent(onEvent)
    one.client.onClose(
      () => void this.#closed(one).catch((error: unknown) => log.warn({ error }, 'a predecessor was lost'))
    )
  }

  /** Tells all of them this state. One that does not take it is ended: it would go on with what is not allowed any more. */
  async apply(message: ApplyMessage): Promise<void> {
    await Promise.all(
      this.clients.map(async (client) => {
        try {
          await client.apply(message)
        } catch (error) {
          // It may have ended just now, as it should.
          if (!this.clients.includes(client)) return
          const reason = error instanceof Error ? error.message : String(error)
          this.#options.log.warn(
            { pid: client.hello.pid, reason },
            'an engine of a build before does not take the state; it is ended, and its flows with it'
          )
          await this.#options.finish(client, 0)
        }
      })
    )
  }

  /** The one that is at work because its successor is gone, if there is one. */
  async atWork(): Promise<{ path: string; workers: number | undefined } | null> {
    const [one] = await this.#withoutSuccessor()
    return one == null ? null : { path: one.path, workers: one.client.hello.workers }
  }

  leave(): void {
    this.#stopping = true
    for (const { client } of this.#all) client.close()
    this.#all = []
  }

  async end(drainMs: number): Promise<void> {
    this.#stopping = true
    await Promise.all(
      this.#all.map(async ({ path, client }) => {
        await this.#options.finish(client, drainMs)
        await rm(path, { force: true })
      })
    )
    this.#all = []
  }

  /** It has ended, or has only dropped this connection. */
  async #closed(one: Predecessor): Promise<void> {
    if (this.#stopping) return
    this.#all = this.#all.filter((other) => other !== one)
    const client = await this.#connect(one.path)
    if (client != null && this.#stopping) client.close()
    else if (client != null) this.add({ path: one.path, client })
    else {
      this.#options.log.info(
        { pid: one.client.hello.pid },
        'an engine of a build before has ended: its last flow is over'
      )
      await rm(one.path, { force: true })
      await this.#putAside()
    }
  }

  /**
   * The one before an engine that died goes to work again, beside the one at work, which does not know it: two would take
   * new flows, and read each other's datagrams.
   */
  async #putAside(): Promise<void> {
    const { clock, isSucceeded, log } = this.#options
    // It hears of the death as the agent does.
    await clock.sleep(orphanLookMs)
    for (const { client } of await this.#withoutSuccessor()) {
      if (this.#stopping || !isSucceeded()) return
      const { pid } = client.hello
      try {
        await client.standAside()
        log.info({ pid }, 'an engine of a build before has lost its successor; it stands aside for the one at work')
      } catch (error) {
        log.warn({ pid, error: String(error) }, 'an engine of a build before does not stand aside')
      }
    }
  }

  /** Asked anew: the hello of a connection that stands is of when it was made. */
  async #withoutSuccessor(): Promise<Predecessor[]> {
    const found: Predecessor[] = []
    for (const one of this.#all.slice()) {
      const client = await this.#connect(one.path)
      client?.close()
      if (client?.hello.has_successor === false) found.push(one)
    }
    return found
  }

  #connect(path: string): Promise<EngineClient | null> {
    return EngineClient.connect(path, this.#options.clock).catch(() => null)
  }
}
