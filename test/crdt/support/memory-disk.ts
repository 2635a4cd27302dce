import { concat, piecesOf } from '../../../src/crdt/bytes.ts'
import type { Disk } from '../../../src/crdt/disk.ts'

/** A disk that is as fast as memory and forgets all with the process: for tests that need many replicas. */
export function memoryDisk(): Disk {
  const files = new Map<string, { bytes: Uint8Array }>()
  const missing = (path: string): Error => Object.assign(new Error(`${path} is missing`), { code: 'ENOENT' })
  const held = (path: string): { bytes: Uint8Array } => {
    const file = files.get(path)
    if (file == null) throw missing(path)
    return file
  }
  return {
    makeDirectory: async () => {},
    lock: async () => ({ release: async () => {} }),
    read: async (path) => files.get(path)?.bytes ?? null,
    write: async (path, data) => void files.set(path, { bytes: concat(piecesOf(data)) }),
    copy: async (from, to) => void files.set(to, { bytes: held(from).bytes }),
    rename: async (from, to) => {
      files.set(to, held(from))
      files.delete(from)
    },
    open: async (path) => {
      const file = held(path)
      return {
        size: async () => file.bytes.length,
        write: async (bytes, position) => {
          const grown = new Uint8Array(Math.max(position + bytes.length, file.bytes.length))
          grown.set(file.bytes)
          grown.set(bytes, position)
          file.bytes = grown
        },
        read: (count, position) => file.bytes.slice(position, position + count),
        sync: async () => {},
        truncate: async (size) => void (file.bytes = file.bytes.slice(0, size)),
        close: async () => {}
      }
    }
  }
}
