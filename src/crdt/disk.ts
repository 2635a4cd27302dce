import { constants } from 'node:fs'
import { open, rename } from 'node:fs/promises'
import { dirname } from 'node:path'
import { UnavailableError } from '../errors.ts'

/** Small durable file operations, and what their failures mean to an operator. */

/** Makes `path` hold `data` and nothing else, whole or not at all, whatever happens in between. */
export async function writeDurably(path: string, data: Uint8Array): Promise<void> {
  const temporary = `${path}.new`
  const file = await open(temporary, 'w', 0o600)
  try {
    await file.writeFile(data)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(temporary, path)
  await syncDirectory(dirname(path))
}

/** A new name in a directory is durable only once the directory is. */
export async function syncDirectory(path: string): Promise<void> {
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
