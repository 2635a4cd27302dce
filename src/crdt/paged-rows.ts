import { crc32 } from 'node:zlib'
import type { OpenScratch, Scratch } from './scratch.ts'

/**
 * Rows of so many bytes each, a list that grows at its end. They stand in pages, of which memory holds those that were used last,
 * `heldMax` of them; the others are in a scratch file until they are asked for. What cannot be written there stays in memory, and
 * without a file all of them do.
 */
export class PagedRows {
  readonly #rowBytes: number
  readonly #shift: number
  readonly #mask: number
  readonly #open: OpenScratch
  readonly #heldMax: number
  /** undefined: no file was needed yet. */
  #scratch: Scratch | null | undefined
  /** By their numbers; null for one that is in the file. */
  readonly #pages: Array<Page | null> = []
  /** Those in memory, in no order. */
  #held: Page[] = []
  /** CRC-32 of those that were written to the file, by their numbers. */
  readonly #sums: number[] = []
  #hand = 0
  #length = 0

  /** `rowsPerPage`: a power of two. `open`: makes the file, once it is needed; null: all is held in memory. */
  constructor(rowBytes: number, { rowsPerPage, heldMax, open }: Paging) {
    this.#rowBytes = rowBytes
    this.#shift = Math.log2(rowsPerPage)
    this.#mask = rowsPerPage - 1
    this.#heldMax = heldMax
    this.#open = open
  }

  get length(): number {
    return this.#length
  }

  /** Pages in memory, of all. */
  get pages(): { held: number; all: number } {
    return { held: this.#held.length, all: this.#pages.length }
  }

  /** Appends a row, whose bytes may be anything. Returns its number. */
  push(): number {
    const row = this.#length
    const number = row >>> this.#shift
    if (number === this.#pages.length) this.#pages.push(this.#begin(number))
    this.#length++
    return row
  }

  /** Forgets all rows from `length` on. */
  cut(length: number): void {
    if (length >= this.#length) return
    this.#length = length
    const pages = Math.ceil(length / (this.#mask + 1))
    this.#pages.length = pages
    this.#sums.length = Math.min(this.#sums.length, pages)
    this.#held = this.#held.filter(({ number }) => number < pages)
    this.#hand = 0
  }

  u8(row: number, at: number): number {
    return this.#page(row).view.getUint8(this.#place(row, at))
  }

  setU8(row: number, at: number, value: number): void {
    this.#toChange(row).view.setUint8(this.#place(row, at), value)
  }

  u32(row: number, at: number): number {
    return this.#page(row).view.getUint32(this.#place(row, at))
  }

  setU32(row: number, at: number, value: number): void {
    this.#toChange(row).view.setUint32(this.#place(row, at), value)
  }

  f64(row: number, at: number): number {
    return this.#page(row).view.getFloat64(this.#place(row, at))
  }

  setF64(row: number, at: number, value: number): void {
    this.#toChange(row).view.setFloat64(this.#place(row, at), value)
  }

  /** So many bytes of a row as text. */
  hex(row: number, at: number, length: number): string {
    const place = this.#place(row, at)
    return this.#page(row).bytes.toString('hex', place, place + length)
  }

  setBytes(row: number, at: number, bytes: Uint8Array): void {
    this.#toChange(row).bytes.set(bytes, this.#place(row, at))
  }

  /** True when a row holds these bytes there. */
  equals(row: number, at: number, bytes: Uint8Array): boolean {
    const place = this.#place(row, at)
    return this.#page(row).bytes.compare(bytes, 0, bytes.length, place, place + bytes.length) === 0
  }

  #place(row: number, at: number): number {
    return (row & this.#mask) * this.#rowBytes + at
  }

  /** Of a row that is there. To be used at once: the next look at a row may put another page in its memory. */
  #page(row: number): Page {
    const number = row >>> this.#shift
    const page = this.#pages[number] ?? this.#bringBack(number)
    page.isUsed = true
    return page
  }

  #toChange(row: number): Page {
    const page = this.#page(row)
    page.isChanged = true
    return page
  }

  #bringBack(number: number): Page {
    const page = this.#begin(number)
    // An error leaves it where it was; its memory goes to the next one.
    page.number = NOWHERE
    try {
      this.#scratch?.read(page.bytes, number * page.bytes.length)
      if (crc32(page.bytes) !== this.#sums[number])
        throw new Error('the disk has given back other bytes than it was given')
    } catch (error) {
      this.#scratch?.lost?.(error)
      throw error
    }
    page.number = number
    page.isChanged = false
    this.#pages[number] = page
    return page
  }

  /** Memory for a page: of another one that can go to the file, if there are enough. */
  #begin(number: number): Page {
    // After a time in which nothing could be written there are more than there should be.
    while (this.#held.length > this.#heldMax) {
      const page = this.#putOut()
      if (page == null) return this.#made(number)
      this.#held.splice(this.#held.indexOf(page), 1)
    }
    const page = this.#held.length < this.#heldMax ? null : this.#putOut()
    if (page == null) return this.#made(number)
    page.number = number
    page.isUsed = page.isChanged = true
    return page
  }

  #made(number: number): Page {
    const bytes = Buffer.from(new ArrayBuffer((this.#mask + 1) * this.#rowBytes))
    const page = { number, bytes, view: new DataView(bytes.buffer), isUsed: true, isChanged: true }
    this.#held.push(page)
    return page
  }

  /** The next one in turn that was not used since it had its last turn; null when nothing can be written. */
  #putOut(): Page | null {
    if (this.#scratch === null) return null
    for (;;) {
      this.#hand = (this.#hand + 1) % this.#held.length
      const page = this.#held[this.#hand] as Page
      if (page.number === NOWHERE) return page
      if (page.isUsed) page.isUsed = false
      else return this.#write(page) ? page : null
    }
  }

  #write(page: Page): boolean {
    const { number, bytes, isChanged } = page
    if (isChanged) {
      try {
        this.#scratch ??= this.#open()
        if (this.#scratch == null) return false
        this.#scratch.write(bytes, number * bytes.length)
      } catch {
        // The disk is full, say: then memory has to hold it, and the next page is another try.
        return false
      }
      this.#sums[number] = crc32(bytes)
    }
    this.#pages[number] = null
    page.number = NOWHERE
    return true
  }
}

export interface Paging {
  rowsPerPage: number
  heldMax: number
  open: OpenScratch
}

interface Page {
  number: number
  bytes: Buffer
  view: DataView
  /** Since it had its last turn. */
  isUsed: boolean
  /** It is not what the file has of it. */
  isChanged: boolean
}

/** Of memory that holds no page. */
const NOWHERE = -1
