import type { Server } from 'node:net'
import ipaddr from 'ipaddr.js'
import type { Clock } from '../../clock.ts'
import { connectionsPerAddressMax, limitedAddressesMax, requestBurstMax, requestsPerSecondMax } from './limits.ts'

const intervalMs = 1000 / requestsPerSecondMax
const burstMs = requestBurstMax * intervalMs

/**
 * How often one address may ask before it has shown who it is: the generic cell rate algorithm (ITU-T I.371), one number
 * per address. The table is bounded: when it is full of addresses that are at it right now, further ones share a number,
 * so that whoever has many addresses gains nothing by them.
 */
export class RateLimit {
  readonly #clock: Clock
  /** Key of an address → when it would be at rest, monotonic ms. */
  readonly #busyUntil = new Map<string, number>()
  #swept = -Infinity

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Counts a request. 0: it may go on; else it has come too early by so many ms. */
  take(address: string): number {
    const now = this.#clock.monotonic()
    const key = this.#key(address, now)
    const busyUntil = Math.max(now, this.#busyUntil.get(key) ?? 0)
    const early = busyUntil + intervalMs - now - burstMs
    if (early > 0) return early
    this.#busyUntil.set(key, busyUntil + intervalMs)
    return 0
  }

  get addresses(): number {
    return this.#busyUntil.size
  }

  #key(address: string, now: number): string {
    const key = network(address)
    if (this.#busyUntil.has(key) || this.#busyUntil.size < limitedAddressesMax) return key
    // Going through the table takes some 50 µs: not at every request of a flood.
    if (now - this.#swept >= intervalMs) {
      this.#swept = now
      for (const [one, busyUntil] of this.#busyUntil) if (busyUntil <= now) this.#busyUntil.delete(one)
    }
    return this.#busyUntil.size < limitedAddressesMax ? key : 'others'
  }
}

/** Closes connections of an address that has `connectionsPerAddressMax` open, so that one cannot take them all. */
export function limitConnections(server: Server): void {
  const open = new Map<string, number>()
  server.on('connection', (socket) => {
    const key = network(socket.remoteAddress ?? '')
    const count = (open.get(key) ?? 0) + 1
    if (count > connectionsPerAddressMax) {
      socket.destroy()
      return
    }
    open.set(key, count)
    socket.once('close', () => {
      const left = (open.get(key) ?? 1) - 1
      if (left === 0) open.delete(key)
      else open.set(key, left)
    })
  })
}

/** Who counts as one: an IPv4 address, or the /64 that an IPv6 host is given whole. */
function network(address: string): string {
  if (!ipaddr.isValid(address)) return address
  const parsed = ipaddr.process(address)
  return parsed.kind() === 'ipv4' ? parsed.toString() : Buffer.from(parsed.toByteArray().slice(0, 8)).toString('hex')
}
