import { createConnection, type Socket } from 'node:net'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Host } from './host.ts'
import { readyTimeoutMs, wireQueueFrames } from './limits.ts'
import type { Task } from './task.ts'
import { until } from './wait.ts'

const PROGRAM = fileURLToPath(new URL('../engines/target/release/badwire', import.meta.url))

/** What happens to the frames of one direction. The words mean what they mean to `tc netem`; what is not named is good. */
export interface Conditions {
  /** Parts of the frames, 0 to 1. */
  loss?: number
  /** These are not delayed, and so overtake the others. */
  reorder?: number
  delayMs?: number
  /** Evenly spread around the delay; frames go each by itself and overtake each other, unless the wire is `ordered`. */
  jitterMs?: number
  ordered?: boolean
  /** Of whole frames; a frame that would wait for longer than `queueMs` (100) is lost. */
  rateMbps?: number
  queueMs?: number
}

export type Way = 'both' | 'a-to-b' | 'b-to-a'

/** Frames of one direction since the wire was made. */
export interface WireCounters {
  frames: number
  bytes: number
  lost: number
  overflowed: number
  overtook: number
  /** Not taken by the other host. */
  refused: number
}

/** The wire that the TCP figures of many VPNs are told for: 1 % lost, 2.5 % overtake, 4 ms ± 7 ms. */
export const NOTORIOUS: Conditions = { loss: 0.01, reorder: 0.025, delayMs: 4, jitterMs: 7 }

/**
 * A wire between two hosts that loses, delays and reorders, changeable while it is in use; chance follows the seed. It is a
 * program of its own (`engines/wire`) in the namespace of host `a`, and ends with it.
 */
export class BadWire {
  readonly task: Task
  readonly #socket: Socket
  readonly #answers: AsyncIterator<string>

  private constructor(task: Task, socket: Socket) {
    this.task = task
    this.#socket = socket
    this.#answers = createInterface({ input: socket })[Symbol.asyncIterator]()
    // It keeps no story alive that is over, only one that waits for an answer.
    socket.unref()
  }

  static async between(
    a: { host: Host; device: string },
    b: { host: Host; device: string },
    seed: number
  ): Promise<BadWire> {
    const control = a.host.path(`${a.device}.wire`)
    const end = ({ host, device }: { host: Host; device: string }): string[] => [`/run/netns/${host.namespace}`, device]
    const argv = [PROGRAM, '--control', control, '--seed', String(seed), '--a', ...end(a), '--b', ...end(b)]
    const task = await a.host.spawn(argv)
    const socket = await until(
      'badwire to listen',
      async () => {
        if (!task.running) throw new Error(task.stderr)
        const made = createConnection(control)
        await once(made, 'connect')
        return made
      },
      { timeoutMs: readyTimeoutMs }
    )
    for (const { host, device } of [a, b]) await host.ip([`link set ${device} txqueuelen ${wireQueueFrames}`])
    return new BadWire(task, socket)
  }

  /** Rejects with the program's sentence when the conditions make no sense. */
  async set(conditions: Conditions, way: Way = 'both'): Promise<void> {
    await this.#ask({
      set: {
        loss: conditions.loss,
        reorder: conditions.reorder,
        delay_ms: conditions.delayMs,
        jitter_ms: conditions.jitterMs,
        ordered: conditions.ordered,
        rate_mbps: conditions.rateMbps,
        queue_ms: conditions.queueMs
      },
      way
    })
  }

  /** Nothing goes through any more, but for what is on its way. */
  cut(way: Way = 'both'): Promise<void> {
    return this.set({ loss: 1 }, way)
  }

  /** As good as a wire can be. */
  mend(way: Way = 'both'): Promise<void> {
    return this.set({}, way)
  }

  counters(): Promise<Record<Exclude<Way, 'both'>, WireCounters>> {
    return this.#ask({ counters: true })
  }

  async #ask<T>(message: object): Promise<T> {
    this.#socket.ref()
    this.#socket.write(`${JSON.stringify(message)}\n`)
    const { value, done } = await this.#answers.next()
    this.#socket.unref()
    if (done === true) throw new Error(`badwire ended: ${this.task.stderr.trim()}`)
    const answer = JSON.parse(value) as T & { error?: string }
    if (answer.error != null) throw new Error(`badwire: ${answer.error}`)
    return answer
  }
}
