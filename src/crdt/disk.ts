import { closeSync, constants, openSync, readSync, unlinkSync, writeSync } from 'node:fs'
import { copyFile, mkdir, open, readFile, rename, unlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { UnavailableError } from '../errors.ts'
import type { Random } from '../random.ts'
import { piecesOf, type Pieces } from './bytes.ts'
import { acquireLock, type Lock } from './lock.ts'
import type { Scratch } from './scratch.ts'

/**
 * What the replica needs of a disk, as an argument: the product gets {@link systemDisk}, a simulator one that can tear
 * and fail. Rejections are those of `node:fs`, with a `code`; {@link diskError} says what they mean to an operator.
 */
export interface Disk {
  /** A directory for this user alone, with its parents; nothing happens when it is there. */
  makeDirectory(path: string): Promise<void>
  /** UnavailableError when a live process holds it. */
  lock(path: string, random: Random): Promise<Lock>
  /** The whole file; null when there is none. */
  read(path: string): Promise<Uint8Array | null>
  /** Makes `path` hold `data`, or these pieces of it, and nothing else, whole or not at all, whatever happens in between. */
  write(path: string, data: Pieces): Promise<void>
  /** Durably; whoever has it open goes on with it. */
  rename(from: string, to: string): Promise<void>
  /** A durable copy. */
  copy(from: string, to: string): Promise<void>
  /** A file that is there, for reading and writing. */
  open(path: string): Promise<DiskFile>
  /** A file without a name in a directory that this process has the lock of, for what need not outlive it; left out: there is none. */
  scratch?(directory: string): Scratch
}

export interface DiskFile {
  size(): Promise<number>
  /** All of `bytes`; durable only after the next `sync`, and until then in any part or none. */
  write(bytes: Uint8Array, position: number): Promise<void>
  /** At once, since a change that is asked for must not wait; fewer bytes at the end of the file. */
  read(length: number, position: number): Uint8Array
  /** Makes what was written durable. */
  sync(): Promise<void>
  /** Cuts the file off, durably. */
  truncate(length: number): Promise<void>
  close(): Promise<void>
}

export const systemDisk: Disk = {
  async makeDirectory(path) {
    await mkdir(path, { recursive: true, mode: 0o700 })
  },
  lock: (path, random) => acquireLock(path, random),
  async read(path) {
    try {
      return await readFile(path)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
      throw error
    }
  },
  write: (path, data) => writeDurably(path, data),
  async rename(from, to) {
    await rename(from, to)
    await syncDirectory(dirname(to))
  },
  async copy(from, to) {
    await copyFile(from, to)
    const copy = await open(to, 'r+')
    try {
      await copy.sync()
    } finally {
      await copy.close()
    }
    await syncDirectory(dirname(to))
  },
  async open(path) {
    const file = await open(path, 'r+')
    return {
      size: async () => (await file.stat()).size,
      async write(bytes, position) {
        for (let done = 0; done < bytes.length;) {
          done += (await file.write(bytes, done, bytes.length - done, position + done)).bytesWritten
        }
      },
      read(length, position) {
        // Of the pool that small buffers share: a piece of memory for each of a long history comes to many, and to holes between them.
        const { buffer, byteOffset } = Buffer.allocUnsafe(length)
        const bytes = new Uint8Array(buffer, byteOffset, length)
        return bytes.subarray(0, readSync(file.fd, bytes, 0, length, position))
      },
      sync: () => file.datasync(),
      async truncate(length) {
        await file.truncate(length)
        await file.sync()
      },
      close: () => file.close()
    }
  },
  scratch: openScratch
}

/** Nobody closes one by hand: who still asked it for something could be given another file by then, which has got its number. */
const forgotten = new FinalizationRegistry<number>((fd) => closeSync(fd))

function openScratch(directory: string): Scratch {
  const path = join(directory, 'scratch')
  // A process that was killed before it took the name away has left one.
  const fd = openSync(path, 'w+', 0o600)
  const scratch: Scratch = {
    write(bytes, position) {
      for (let done = 0; done < bytes.length;) {
        done += writeSync(fd, bytes, done, bytes.length - done, position + done)
      }
    },
    read(into, position) {
      for (let done = 0; done < into.length;) {
        const count = readSync(fd, into, done, into.length - done, position + done)
        if (count === 0) throw new Error(`${path} ends at ${position + done}, before the end of what was written to it`)
        done += count
      }
    }
  }
  forgotten.register(scratch, fd)
  unlinkSync(path)
  return scratch
}

/** Small durable file operations, and what their failures mean to an operator. */

/** Makes `path` hold `data` and nothing else, whole or not at all, whatever happens in between. */
export async function writeDurably(path: string, data: Pieces): Promise<void> {
  const temporary = `${path}.new`
  const file = await open(temporary, 'w', 0o600)
  try {
    // Each goes on where the one before it has ended.
    for (const piece of piecesOf(data)) await file.writeFile(piece)
    await file.sync()
  } catch (error) {
    // What it takes of a full disk others need.
    await unlink(temporary).catch(() => {})
    throw error
  } finally {
    await file.close()
  }
  await rename(temporary, path)
  await syncDirectory(dirname(path))
}

/** A new name in a directory is durable only once the directory is. */
async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, constants.O_RDONLY | constants.O_DIRECTORY)
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}

/** The UnavailableError for a failed disk operation; what is no disk error is given back as it is. */
export function diskError(error: unknown, path: string): unknown {
  const code = (error as NodeJS.ErrnoException | null)?.code
  if (code == null || error instanceof UnavailableError) return error
  const why = REASONS[code] ?? `the disk failed with ${code}; check the file system`
  return new UnavailableError(`${path} cannot be used: ${why}`, { path, errno: code }, { cause: error })
}

const REASONS: Record<string, string> = {
  ENOSPC: 'the disk is full; free some space, writes work again at once',
  EDQUOT: 'the disk quota is used up; free some space, writes work again at once',
  EROFS: 'the file system is read-only; choose another --state-dir or remount it',
  EACCES: 'permission denied; run as the owner of the directory or choose another --state-dir',
  EPERM: 'permission denied; run as the owner of the directory or choose another --state-dir',
  EEXIST: 'a file stands where a directory should be; choose another --state-dir',
  ENOTDIR: 'a part of the path is a file; choose another --state-dir',
  EIO: 'the disk reports an input/output error; check its health',
  EMFILE: 'too many files are open; raise RLIMIT_NOFILE'
}
