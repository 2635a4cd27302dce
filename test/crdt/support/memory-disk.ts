import type { Disk } from '../../../src/crdt/disk.ts'

/** A disk that is as fast as memory and forgets all with the process: for tests that need many replicas. */
export function memoryDisk(): Disk {
  const files = new Map<string, Uint8Array>()
  const missing = (path: string): Error => Object.assign(new Error(`${path} is missing`), { code: 'ENOENT' })
  const held = (path: string): Uint8Array => {
    const bytes = files.get(path)
    if (bytes == null) throw missing(path)
    return bytes
  }
  return {
    makeDirectory: async () => {},
    lock: async () => ({ release: async () => {} }),
    read: async (path) => files.get(path) ?? null,
    write: async (path, data) => void files.set(path, data.slice()),
    copy: async (from, to) => void files.set(to, held(from)),
    rename: async (from, to) => {
      files.set(to, held(from))
      files.delete(from)
    },
    open: async (path) => {
      let length = held(path).length
      const put = (bytes: Uint8Array, position: number): void => {
        const end = position + bytes.length
        const grown = new Uint8Array(Math.max(end, length))
        grown.set(held(path).subarray(0, length))
        grown.set(bytes, position)
        length = grown.length
        files.set(path, grown)
      }
      return {
        size: async () => length,
        write: async (bytes, position) => put(bytes, position),
        read: (count, position) => held(path).slice(position, Math.min(length, position + count)),
        sync: async () => {},
        truncate: async (size) => {
          length = size
          files.set(path, held(path).slice(0, size))
        },
        close: async () => {}
      }
    }
  }
}
