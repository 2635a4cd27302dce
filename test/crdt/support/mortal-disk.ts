import type { Disk, DiskFile } from '../../../src/crdt/disk.ts'

/** A disk on which nothing happens any more once `left` operations have been done. */
export function mortal(disk: Disk): { disk: Disk; left: number } {
  const life = { disk, left: Infinity }
  const guarded =
    <A extends unknown[], R>(work: (...args: A) => Promise<R>) =>
    async (...args: A): Promise<R> => {
      if (life.left-- <= 0) throw Object.assign(new Error('the process has ended'), { code: 'EIO' })
      return work(...args)
    }
  const file = (real: DiskFile): DiskFile => ({
    size: guarded(() => real.size()),
    write: guarded((bytes, position) => real.write(bytes, position)),
    read: (length, position) => real.read(length, position),
    sync: guarded(() => real.sync()),
    truncate: guarded((length) => real.truncate(length)),
    close: () => real.close()
  })
  life.disk = {
    makeDirectory: guarded((path) => disk.makeDirectory(path)),
    lock: (path, random) => disk.lock(path, random),
    read: guarded((path) => disk.read(path)),
    write: guarded((path, data) => disk.write(path, data)),
    copy: guarded((from, to) => disk.copy(from, to)),
    rename: guarded((from, to) => disk.rename(from, to)),
    open: guarded(async (path) => file(await disk.open(path)))
  }
  return life
}
