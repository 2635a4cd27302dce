import type { Scratch } from '../../../src/crdt/scratch.ts'

/** Room in memory, which is full for the writes that `isFull` names by their numbers. */
export class MemoryScratch implements Scratch {
  bytes: Buffer = Buffer.alloc(0)
  readonly #isFull: (n: number) => boolean
  #writes = 0

  constructor(isFull: (n: number) => boolean = () => false) {
    this.#isFull = isFull
  }

  write(bytes: Uint8Array, position: number): void {
    if (this.#isFull(this.#writes++)) throw Object.assign(new Error('full'), { code: 'ENOSPC' })
    const end = position + bytes.length
    if (end > this.bytes.length) this.bytes = Buffer.concat([this.bytes, Buffer.alloc(end - this.bytes.length)])
    this.bytes.set(bytes, position)
  }

  read(into: Uint8Array, position: number): void {
    if (position + into.length > this.bytes.length) throw new Error('it ends before that')
    into.set(this.bytes.subarray(position, position + into.length))
  }
}
