import { pendingBytesMax, pendingEnvelopesMax } from './limits.ts'
import type { Unheld } from './ledger.ts'

/** Verified envelopes that wait for another one, in memory only. When full, the oldest go: anti-entropy brings them. */
export class Pending {
  readonly #byKey = new Map<string, Unheld[]>()
  readonly #order = new Map<string, string>()
  #bytes = 0

  get size(): number {
    return this.#order.size
  }

  has(hash: string): boolean {
    return this.#order.has(hash)
  }

  add(key: string, item: Unheld): void {
    const { hash, bytes } = item.envelope
    if (this.#order.has(hash)) return
    this.#order.set(hash, key)
    this.#bytes += bytes.length
    const waiting = this.#byKey.get(key)
    if (waiting == null) this.#byKey.set(key, [item])
    else waiting.push(item)
    while (this.#order.size > pendingEnvelopesMax || this.#bytes > pendingBytesMax) this.#dropOldest()
  }

  /** Takes out all that wait for `key`. */
  take(key: string): Unheld[] {
    const items = this.#byKey.get(key) ?? []
    this.#byKey.delete(key)
    for (const { envelope } of items) {
      this.#order.delete(envelope.hash)
      this.#bytes -= envelope.bytes.length
    }
    return items
  }

  clear(): void {
    this.#byKey.clear()
    this.#order.clear()
    this.#bytes = 0
  }

  #dropOldest(): void {
    const [hash, key] = this.#order.entries().next().value ?? ['', '']
    const items = this.#byKey.get(key) ?? []
    const index = items.findIndex(({ envelope }) => envelope.hash === hash)
    const [item] = items.splice(index, 1)
    if (items.length === 0) this.#byKey.delete(key)
    this.#order.delete(hash)
    this.#bytes -= item?.envelope.bytes.length ?? 0
  }
}
