import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { crc32 } from 'node:zlib'

/** Compiled code of one file, good for that very text of it. */
export interface CompiledFile {
  name: string
  /** Of the file's text: V8 itself compares no more than its length. */
  checksum: number
  code: Buffer
}

/**
 * What V8 had compiled of the program when an earlier start was over, so that the next one compiles none of it again. Node's own compile cache has
 * of each file what was compiled when it was read, and so none of the functions that were called since.
 *
 *   "ARCTCODE" | crc32 of the rest u32 | head length u32 | head, JSON | code of each file
 */
export class CodeCache {
  /** It is of a start that did all that a start may have to do. */
  readonly isWhole: boolean
  readonly #files: ReadonlyMap<string, CompiledFile>

  private constructor(files: readonly CompiledFile[], isWhole: boolean) {
    this.#files = new Map(files.map((file) => [file.name, file]))
    this.isWhole = isWhole
  }

  /** An empty one where there is none, or none that is whole as a file: V8 believes what it is given. */
  static read(path: string): CodeCache {
    const empty = new CodeCache([], false)
    let bytes: Buffer
    try {
      bytes = readFileSync(path)
    } catch {
      return empty
    }
    if (bytes.length < HEAD_AT || !bytes.subarray(0, MAGIC.length).equals(MAGIC)) return empty
    if (crc32(bytes.subarray(REST_AT)) !== bytes.readUInt32BE(MAGIC.length)) return empty
    let at = HEAD_AT + bytes.readUInt32BE(REST_AT)
    const head = JSON.parse(bytes.toString('utf8', HEAD_AT, at)) as Head
    const files = head.files.map(([name, checksum, length]): CompiledFile => {
      const code = bytes.subarray(at, (at += length))
      return { name, checksum, code }
    })
    return new CodeCache(files, head.whole)
  }

  /** Whole or not at all: another agent may read or write it at the same time. Throws what the file system says. */
  static write(path: string, files: readonly CompiledFile[], isWhole: boolean): void {
    const head: Head = { whole: isWhole, files: files.map(({ name, checksum, code }) => [name, checksum, code.length]) }
    const json = Buffer.from(JSON.stringify(head))
    const rest = Buffer.concat([u32(json.length), json, ...files.map(({ code }) => code)])
    const next = `${path}.${process.pid}`
    try {
      writeFileSync(next, Buffer.concat([MAGIC, u32(crc32(rest)), rest]), { mode: 0o600 })
      renameSync(next, path)
    } catch (error) {
      rmSync(next, { force: true })
      throw error
    }
  }

  /** Of the file with that name and checksum; undefined when it is not there. */
  of(name: string, checksum: number): Buffer | undefined {
    const file = this.#files.get(name)
    return file?.checksum === checksum ? file.code : undefined
  }
}

interface Head {
  whole: boolean
  files: Array<[name: string, checksum: number, length: number]>
}

const MAGIC = Buffer.from('ARCTCODE')
const REST_AT = MAGIC.length + 4
const HEAD_AT = REST_AT + 4

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}
