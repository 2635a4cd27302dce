import type { PeerId } from '../../crdt/schema.ts'
import { MisspokenError } from '../misspoken.ts'
import type { Channel } from '../network.ts'
import type { Mark, ReportBook } from './book.ts'
import { sendDelta } from './page.ts'

interface Follower {
  isOpen: boolean
  wake: () => void
  channel: Channel
}

/** Members that have asked to be told each change of this peer's reports. One that reads slowly gets the newest, not all. */
export class Followers {
  readonly #book: ReportBook
  readonly #all = new Map<PeerId, Follower>()

  constructor(book: ReportBook) {
    this.#book = book
  }

  has(peer: PeerId): boolean {
    return this.#all.has(peer)
  }

  /** The book has changed. */
  changed(): void {
    for (const { wake } of this.#all.values()) wake()
  }

  /** Tells what is new after `mark`, from now on, until the follower closes; one that follows anew ends what was before. */
  async serve(channel: Channel, peer: PeerId, mark: Mark, signal: AbortSignal): Promise<void> {
    let news = Promise.withResolvers<void>()
    const follower: Follower = { channel, isOpen: true, wake: () => news.resolve() }
    const closed = this.#closed(channel, signal).finally(() => {
      follower.isOpen = false
      news.resolve()
    })
    closed.catch(() => {})
    this.#all.get(peer)?.channel.abort(new Error('this peer follows anew'))
    this.#all.set(peer, follower)
    try {
      let { incarnation, seq } = mark
      while (follower.isOpen) {
        if (this.#book.version().seq === seq) {
          await news.promise
          news = Promise.withResolvers()
        } else {
          ;({ incarnation, seq } = await sendDelta(channel, this.#book.since(seq, incarnation)))
        }
      }
      await closed
    } finally {
      if (this.#all.get(peer) === follower) this.#all.delete(peer)
    }
  }

  async #closed(channel: Channel, signal: AbortSignal): Promise<void> {
    if ((await channel.receive({ signal, bytesMax: 0 })) != null) {
      throw new MisspokenError('malformed', 'a peer that follows the reports of this one has said more')
    }
  }
}
