import { jsonPieceBytes } from './limits.ts'

/**
 * A JSON array as bytes in pieces, written one element after the other: of a list that is as long as the history there is never
 * a second one in memory, nor a text of it all. Pieces are large enough for the allocator to give each back to the system.
 */
export class JsonList {
  readonly #full: Uint8Array[] = []
  #piece: Buffer = Buffer.allocUnsafeSlow(jsonPieceBytes)
  #at = 0
  #length = 0

  constructor() {
    this.#write('[')
  }

  get length(): number {
    return this.#length
  }

  add(element: unknown): void {
    const text = JSON.stringify(element)
    this.#write(this.#length++ === 0 ? text : `,${text}`)
  }

  /** All of it, in order. Nothing can be added any more. */
  end(): Uint8Array[] {
    this.#write(']')
    return [...this.#full, this.#piece.subarray(0, this.#at)]
  }

  #write(text: string): void {
    const bytes = Buffer.byteLength(text)
    if (bytes > this.#piece.length - this.#at) {
      this.#full.push(this.#piece.subarray(0, this.#at))
      this.#piece = Buffer.allocUnsafeSlow(Math.max(jsonPieceBytes, bytes))
      this.#at = 0
    }
    this.#at += this.#piece.write(text, this.#at)
  }
}
