import { countMemoryOutside } from './memory.ts'
import { eventsPerInstantMax, eventsPerTurn, virtualMsMax } from './limits.ts'

/** The process's own, whatever a simulation makes of the global one. */
const { setImmediate } = globalThis

export interface Scheduled {
  readonly at: number
  readonly seq: number
  /** Emptied when it has run or was cancelled. */
  fn: (() => void) | null
}

/**
 * Virtual time. Events run one after the other, by time and then by the order in which they were asked for, and after each
 * one all promises settle before the next: so a run depends on nothing but what is asked of it. Nothing in a simulation
 * may wait for anything else than this, or the order is the machine's again.
 */
export class Scheduler {
  #now = 0
  #seq = 0
  #ran = 0
  #inInstant = 0
  readonly #heap: Scheduled[] = []

  /** Ms since the world began. */
  get now(): number {
    return this.#now
  }

  /** Events that have run. */
  get ran(): number {
    return this.#ran
  }

  get waiting(): number {
    return this.#heap.length
  }

  after(ms: number, fn: () => void): Scheduled {
    const event: Scheduled = { at: this.#now + Math.max(0, ms), seq: this.#seq++, fn }
    push(this.#heap, event)
    return event
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.after(ms, resolve))
  }

  /** Runs the world until `promise` settles, and answers or throws as it does. */
  async run<T>(promise: Promise<T>): Promise<T> {
    let settled = false
    const mark = (): void => void (settled = true)
    promise.then(mark, mark)
    const endCounting = countMemoryOutside()
    try {
      await this.#pump(() => settled)
    } finally {
      endCounting()
    }
    return promise
  }

  #pump(until: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      // Each immediate ends with an empty microtask queue, and a batch of them costs one turn of the event loop.
      const step = (last: boolean) => (): void => {
        try {
          if (until()) {
            if (last) resolve()
            return
          }
          this.#step()
          if (last) batch()
        } catch (error) {
          ended = true
          reject(error as Error)
        }
      }
      let ended = false
      const [inner, closing] = [step(false), step(true)]
      const guarded = (fn: () => void) => (): void => {
        if (!ended) fn()
      }
      const batch = (): void => {
        for (let i = 1; i < eventsPerTurn; i++) setImmediate(guarded(inner))
        setImmediate(guarded(closing))
      }
      batch()
    })
  }

  #step(): void {
    let event = pop(this.#heap)
    while (event != null && event.fn == null) event = pop(this.#heap)
    if (event == null) throw new Error('the world stands still: something waits for what no event will bring')
    if (event.at > virtualMsMax)
      throw new Error(`the run does not end: ${virtualMsMax / 60_000} virtual minutes are over`)
    if (event.at > this.#now) {
      this.#now = event.at
      this.#inInstant = 0
    } else if (++this.#inInstant > eventsPerInstantMax) {
      throw new Error(`time stands still at ${this.#now} ms: more than ${eventsPerInstantMax} events in one instant`)
    }
    this.#ran++
    const { fn } = event
    event.fn = null
    fn?.()
  }
}

const before = (a: Scheduled, b: Scheduled): boolean => a.at < b.at || (a.at === b.at && a.seq < b.seq)

function push(heap: Scheduled[], event: Scheduled): void {
  let i = heap.push(event) - 1
  while (i > 0) {
    const parent = (i - 1) >> 1
    const above = heap[parent] as Scheduled
    if (before(above, event)) break
    heap[i] = above
    i = parent
  }
  heap[i] = event
}

function pop(heap: Scheduled[]): Scheduled | undefined {
  const first = heap[0]
  const last = heap.pop()
  if (first == null || last == null || heap.length === 0) return first
  let i = 0
  for (;;) {
    let child = 2 * i + 1
    if (child >= heap.length) break
    if (child + 1 < heap.length && before(heap[child + 1] as Scheduled, heap[child] as Scheduled)) child++
    const below = heap[child] as Scheduled
    if (before(last, below)) break
    heap[i] = below
    i = child
  }
  heap[i] = last
  return first
}
