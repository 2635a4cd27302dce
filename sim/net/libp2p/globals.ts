import nodeCrypto from 'node:crypto'
import { epochMs } from '../../limits.ts'
import type { SeededRandom } from '../../random.ts'
import type { Scheduled, Scheduler } from '../../scheduler.ts'

/**
 * libp2p takes time and chance from the process, not from arguments. While a simulation holds them, both are virtual; when it
 * lets go they are the process's again. It has to be loaded before libp2p is, parts of which keep what they found.
 */
let holder: { scheduler: Scheduler; random: SeededRandom } | null = null

/** What is returned lets go. One simulation at a time. */
export function holdGlobals(scheduler: Scheduler, random: SeededRandom): () => void {
  if (holder != null) throw new Error('another simulation holds time and chance; one at a time')
  holder = { scheduler, random }
  return () => void (holder = null)
}

const real = {
  setTimeout: globalThis.setTimeout,
  clearTimeout: globalThis.clearTimeout,
  setInterval: globalThis.setInterval,
  clearInterval: globalThis.clearInterval,
  now: Date.now,
  monotonic: performance.now.bind(performance),
  timeout: AbortSignal.timeout.bind(AbortSignal),
  random: Math.random,
  randomBytes: nodeCrypto.randomBytes,
  getRandomValues: crypto.getRandomValues.bind(crypto),
  randomUUID: crypto.randomUUID.bind(crypto)
}

/** As Node's timers are, where somebody calls a method of it. */
class VirtualTimer {
  scheduled: Scheduled | null = null

  ref(): this {
    return this
  }

  unref(): this {
    return this
  }

  hasRef(): boolean {
    return true
  }

  refresh(): this {
    return this
  }

  cancel(): void {
    if (this.scheduled != null) this.scheduled.fn = null
  }

  [Symbol.toPrimitive](): number {
    return 0
  }

  [Symbol.dispose](): void {
    this.cancel()
  }
}

type Callback = (...args: unknown[]) => void

function later(fn: Callback, ms: number | undefined, args: unknown[], again: boolean): VirtualTimer {
  const timer = new VirtualTimer()
  const { scheduler } = holder as NonNullable<typeof holder>
  const wait = Math.max(1, Math.trunc(Number(ms ?? 0)) || 1)
  const set = (): void => {
    timer.scheduled = scheduler.after(wait, () => {
      if (again) set()
      fn(...args)
    })
  }
  set()
  return timer
}

const clear = (timer: unknown, forReal: (timer: never) => void): void => {
  if (timer instanceof VirtualTimer) timer.cancel()
  else forReal(timer as never)
}

const replace = (target: object, name: string, value: unknown): void =>
  void Object.defineProperty(target, name, { value, configurable: true, writable: true })

replace(globalThis, 'setTimeout', (fn: Callback, ms?: number, ...args: unknown[]) =>
  holder == null ? real.setTimeout(fn, ms, ...args) : later(fn, ms, args, false)
)
replace(globalThis, 'setInterval', (fn: Callback, ms?: number, ...args: unknown[]) =>
  holder == null ? real.setInterval(fn, ms, ...args) : later(fn, ms, args, true)
)
replace(globalThis, 'clearTimeout', (timer: unknown) => clear(timer, real.clearTimeout))
replace(globalThis, 'clearInterval', (timer: unknown) => clear(timer, real.clearInterval))
replace(Date, 'now', () => (holder == null ? real.now() : epochMs + Math.floor(holder.scheduler.now)))
replace(performance, 'now', () => (holder == null ? real.monotonic() : holder.scheduler.now))
replace(AbortSignal, 'timeout', (ms: number) => {
  if (holder == null) return real.timeout(ms)
  const controller = new AbortController()
  later(() => controller.abort(timedOut), ms, [], false)
  return controller.signal
})
replace(Math, 'random', () => holder?.random.float() ?? real.random())

/** One for all: most are of signals that nobody has listened to for long, and its stack costs more than all the rest. */
const timedOut = new DOMException('timed out', 'TimeoutError')

function fill<T extends ArrayBufferView>(view: T): T {
  if (holder == null) return real.getRandomValues(view as never) as unknown as T
  new Uint8Array(view.buffer, view.byteOffset, view.byteLength).set(holder.random.bytes(view.byteLength))
  return view
}
replace(crypto, 'getRandomValues', fill)
replace(crypto, 'randomUUID', () => {
  if (holder == null) return real.randomUUID()
  const hex = Buffer.from(holder.random.bytes(16)).toString('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20)}`
})
replace(nodeCrypto, 'randomBytes', (size: number) =>
  holder == null ? real.randomBytes(size) : Buffer.from(holder.random.bytes(size))
)
