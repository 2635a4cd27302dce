import { constants } from 'node:fs'
import { link, mkdir, open, rename, unlink } from 'node:fs/promises'
import { InvalidRequestError, UnavailableError } from '../errors.ts'

/** The secrets of a peer, `<stateDir>/identity`: one file, mode 0600, whole at any moment. */

export const IDENTITY_VERSION = 1

export interface IdentityFile {
  version: typeof IDENTITY_VERSION
  /** base64 of 32 bytes each: Ed25519 seed, X25519 private keys. */
  peer_seed: string
  pegasus_key: string
  tempest_key: string
  /** The X25519 keys before these, as long as handshakes with them are good. */
  keys_before?: { pegasus_key: string; tempest_key: string }
  /** When the keys were made, wall-clock ms; how long they have been in use as of `keys_seen_at`. */
  keys_made_at?: number
  keys_used_ms?: number
  keys_seen_at?: number
}

/** The text, or null when there is none. InvalidRequestError when others can read it. */
export async function readIdentity(path: string): Promise<string | null> {
  try {
    // Checked on the open file, so that what is checked is what is read.
    await using file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW)
    const { mode } = await file.stat()
    if ((mode & 0o077) !== 0) {
      throw new InvalidRequestError(
        `${path} can be read by other users (mode ${(mode & 0o777).toString(8)}), so its keys may be known; ` +
          `if you are sure that they are not: chmod 600 ${path}`,
        { path }
      )
    }
    return await file.readFile('utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw refused(error, path)
  }
}

export async function createIdentity(
  stateDir: string,
  path: string,
  aside: string,
  content: IdentityFile
): Promise<void> {
  try {
    await mkdir(stateDir, { recursive: true, mode: 0o700 })
    await writeAside(aside, content)
    // A link fails when the name exists, a rename would replace another agent's fresh identity.
    await link(aside, path).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error
    })
    await unlink(aside)
    await syncDirectory(stateDir)
  } catch (error) {
    await unlink(aside).catch(() => {})
    throw refused(error, path)
  }
}

/** Puts other content in its place: after a crash there is the old file or the new one. UnavailableError. */
export async function replaceIdentity(stateDir: string, path: string, content: IdentityFile): Promise<void> {
  const aside = `${path}.next`
  try {
    // Left by a crash in the middle of this.
    await unlink(aside).catch(() => {})
    await writeAside(aside, content)
    await rename(aside, path)
    await syncDirectory(stateDir)
  } catch (error) {
    await unlink(aside).catch(() => {})
    throw refused(error, path)
  }
}

async function writeAside(path: string, content: IdentityFile): Promise<void> {
  await using file = await open(path, 'wx', 0o600)
  await file.writeFile(`${JSON.stringify(content, null, 2)}\n`)
  await file.sync()
}

async function syncDirectory(path: string): Promise<void> {
  await using directory = await open(path, 'r')
  await directory.sync()
}

function refused(error: unknown, path: string): unknown {
  const { code } = error as NodeJS.ErrnoException
  if (typeof code !== 'string' || error instanceof InvalidRequestError) return error
  if (code === 'ELOOP') return new InvalidRequestError(`${path} is a symbolic link; put the file itself there`)
  return new UnavailableError(
    `${path} cannot be read or made (${code}); check the owner, the rights and the free space of the state directory`,
    { path, code },
    { cause: error }
  )
}

/** InvalidRequestError when it is damaged, or of a newer format. */
export function parseIdentity(path: string, text: string): IdentityFile {
  const damaged = (why: string): InvalidRequestError =>
    new InvalidRequestError(
      `${path} is damaged: ${why}; restore it from a backup, or remove the state directory to start as a new peer`,
      { path }
    )
  let content: Partial<IdentityFile> | null
  try {
    content = JSON.parse(text) as Partial<IdentityFile> | null
  } catch {
    throw damaged('it is not JSON')
  }
  if (content == null || typeof content !== 'object') throw damaged('it holds no object')
  if (typeof content.version === 'number' && content.version > IDENTITY_VERSION) {
    throw new InvalidRequestError(
      `${path} was written by a newer arctic (format ${content.version}, this one knows ${IDENTITY_VERSION}); upgrade this agent`,
      { path }
    )
  }
  if (content.version !== IDENTITY_VERSION) throw damaged('it has no format version')
  for (const key of ['peer_seed', 'pegasus_key', 'tempest_key'] as const) {
    const value = content[key]
    if (typeof value !== 'string' || Buffer.from(value, 'base64').length !== 32) throw damaged(`${key} is not a key`)
  }
  const before = content.keys_before
  if (before != null) {
    for (const key of [before.pegasus_key, before.tempest_key]) {
      if (typeof key !== 'string' || Buffer.from(key, 'base64').length !== 32) throw damaged('keys_before are no keys')
    }
  }
  return content as IdentityFile
}
