import { createHash } from 'node:crypto'
import type { Clock } from '../clock.ts'
import type { EnvelopeBytes, Replicated } from '../crdt/replicated.ts'
import type { PeerId } from '../crdt/schema.ts'
import type { Logger } from '../log.ts'
import { Background } from './background.ts'
import { gossipBytesMax, intakeEnvelopesMax, intakeGapMs, syncBatchBytes } from './limits.ts'
import type { Audience, Network } from './network.ts'
import type { Refusals } from './refusals.ts'

/** First byte of a message: the envelope itself, or the word that there is one too large for gossip. */
const INLINE = 0
const ANNOUNCED = 1
const HASH_BYTES = 32

/**
 * Tells the members of each change as soon as it is durable here, and takes in theirs. Best effort: whatever is lost,
 * too large or out of order is fetched by sync, which `fetch` asks for.
 */
export class ChangeGossip {
  readonly #network: Network
  readonly #replica: Replicated
  readonly #clock: Clock
  readonly #fetch: (peer: PeerId) => void
  readonly #log: Logger
  readonly #refusals: Refusals
  readonly #audience: () => Audience
  readonly #members: () => number
  readonly #background: Background
  readonly #releases: Array<() => void> = []
  #intake: Array<{ envelope: EnvelopeBytes; from: PeerId }> = []
  #draining = false
  #topic: string | null = null

  constructor(parts: {
    network: Network
    replica: Replicated
    clock: Clock
    log: Logger
    refusals: Refusals
    /** Who has to be told for all to know. */
    audience: () => Audience
    members: () => number
    fetch: (peer: PeerId) => void
  }) {
    this.#refusals = parts.refusals
    this.#audience = parts.audience
    this.#members = parts.members
    this.#network = parts.network
    this.#replica = parts.replica
    this.#clock = parts.clock
    this.#fetch = parts.fetch
    this.#log = parts.log.module('mesh:gossip')
    this.#background = new Background((error) => this.#log.debug({ error }, 'gossip failed; sync repairs it'))
  }

  start(cluster: string): void {
    const topic = `arctic/${cluster}/changes/1`
    this.#topic = topic
    const unsubscribe = this.#network.subscribe(topic, {
      validate: (data) => this.#refusals.judged('changes', this.#validate(data)),
      deliver: (data, from) => this.#deliver(data, from)
    })
    const ignore = this.#replica.onLocal((envelope) => {
      const message = toMessage(envelope, this.#network.self)
      this.#background.run(() => this.#network.publish(topic, message, this.#audience()))
    })
    this.#releases.push(unsubscribe, ignore)
  }

  /** Ends what {@link start} began; it may begin anew, for another cluster. */
  leave(): void {
    for (const release of this.#releases.splice(0)) release()
    this.#intake = []
    this.#topic = null
  }

  async stop(): Promise<void> {
    this.leave()
    await this.#background.stop()
  }

  /** Hands on what sync has brought; whoever has it by gossip already drops it by its content. */
  forward(envelopes: EnvelopeBytes[]): void {
    const topic = this.#topic
    if (topic == null) return
    for (const envelope of envelopes) {
      if (envelope.byteLength > gossipBytesMax) continue
      this.#background.run(() => this.#network.publish(topic, toMessage(envelope, this.#network.self), 'all'))
    }
  }

  #validate(data: Uint8Array): 'accept' | 'ignore' | 'reject' {
    if (data[0] === ANNOUNCED) {
      if (data.byteLength > 1 + HASH_BYTES + 64) return 'reject'
      return this.#replica.isMember(authorOf(data)) ? 'accept' : 'ignore'
    }
    if (data[0] !== INLINE || data.byteLength > 1 + gossipBytesMax) return 'reject'
    return this.#replica.check(data.subarray(1))
  }

  #deliver(data: Uint8Array, from: PeerId): void {
    if (data[0] === ANNOUNCED) {
      const author = authorOf(data)
      this.#fetch(this.#network.connected().includes(author) ? author : from)
      return
    }
    if (this.#intake.length >= intakeEnvelopesMax) {
      this.#fetch(from)
      return
    }
    this.#intake.push({ envelope: data.subarray(1), from })
    if (!this.#draining) this.#background.run((signal) => this.#drain(signal))
  }

  /** What arrives while the disk is busy, or soon after, shares its next write. */
  async #drain(signal: AbortSignal): Promise<void> {
    this.#draining = true
    try {
      while (this.#intake.length > 0) {
        const batch = takeBatch(this.#intake)
        const from = batch[0]!.from
        const result = await this.#replica.receive(
          batch.map(({ envelope }) => envelope),
          from
        )
        if (result.gap) this.#fetch(from)
        await this.#clock.sleep(intakeGapMs(this.#members()), { signal })
      }
    } finally {
      this.#draining = false
    }
  }
}

function toMessage(envelope: EnvelopeBytes, self: PeerId): Uint8Array {
  if (envelope.byteLength <= gossipBytesMax) return Buffer.concat([Buffer.of(INLINE), envelope])
  const hash = createHash('sha256').update(envelope).digest()
  return Buffer.concat([Buffer.of(ANNOUNCED), hash, Buffer.from(self)])
}

const authorOf = (data: Uint8Array): PeerId => Buffer.from(data.subarray(1 + HASH_BYTES)).toString('latin1')

function takeBatch<T extends { envelope: EnvelopeBytes }>(intake: T[]): T[] {
  let bytes = 0
  const beyond = intake.findIndex(({ envelope }) => (bytes += envelope.byteLength) > syncBatchBytes)
  return intake.splice(0, beyond === -1 ? intake.length : Math.max(1, beyond))
}
