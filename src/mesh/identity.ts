import { createPrivateKey, createPublicKey } from 'node:crypto'
import { constants } from 'node:fs'
import { link, mkdir, open, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { privateKeyFromRaw } from '@libp2p/crypto/keys'
import type { PrivateKey } from '@libp2p/interface'
import { signerFromSeed, type Signer } from '../crdt/signer.ts'
import { InvalidRequestError, UnavailableError } from '../errors.ts'
import type { Random } from '../random.ts'

/** An X25519 key pair, raw 32 bytes each in base64. */
interface KeyPair {
  publicKey: string
  privateKey: string
}

/** Who this peer is, for as long as its state directory lives. */
export interface Identity {
  readonly peerId: string
  /** The same key as `signer`'s, for libp2p. */
  readonly privateKey: PrivateKey
  readonly signer: Signer
  /** Noise static key of Pegasus. */
  readonly pegasus: KeyPair
  /** WireGuard key of Tempest. */
  readonly tempest: KeyPair
}

const VERSION = 1

interface IdentityFile {
  version: typeof VERSION
  /** base64 of 32 bytes each: Ed25519 seed, X25519 private keys. */
  peer_seed: string
  pegasus_key: string
  tempest_key: string
}

/**
 * Reads `<stateDir>/identity`, or makes it at the first start: written aside, synced, then linked into place, so that it
 * is whole or absent, and of two agents that start at once both get the same one.
 *
 * Throws InvalidRequestError when the file is open to others, of a newer format or damaged, UnavailableError when the
 * disk refuses; each says how to mend it.
 */
export async function openIdentity(stateDir: string, random: Random): Promise<Identity> {
  const path = join(stateDir, 'identity')
  const text = await read(path)
  if (text != null) return fromFile(parse(path, text))
  const aside = `${path}.${Buffer.from(random.bytes(6)).toString('hex')}.new`
  await create(stateDir, path, aside, {
    version: VERSION,
    peer_seed: Buffer.from(random.bytes(32)).toString('base64'),
    pegasus_key: Buffer.from(random.bytes(32)).toString('base64'),
    tempest_key: Buffer.from(random.bytes(32)).toString('base64')
  })
  const made = await read(path)
  if (made == null) throw new UnavailableError(`${path} vanished while it was made; look for what cleans ${stateDir}`)
  return fromFile(parse(path, made))
}

async function read(path: string): Promise<string | null> {
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

async function create(stateDir: string, path: string, aside: string, content: IdentityFile): Promise<void> {
  try {
    await mkdir(stateDir, { recursive: true, mode: 0o700 })
    {
      await using file = await open(aside, 'wx', 0o600)
      await file.writeFile(`${JSON.stringify(content, null, 2)}\n`)
      await file.sync()
    }
    // A link fails when the name exists, a rename would replace another agent's fresh identity.
    await link(aside, path).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error
    })
    await unlink(aside)
    await using directory = await open(stateDir, 'r')
    await directory.sync()
  } catch (error) {
    await unlink(aside).catch(() => {})
    throw refused(error, path)
  }
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

function parse(path: string, text: string): IdentityFile {
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
  if (typeof content.version === 'number' && content.version > VERSION) {
    throw new InvalidRequestError(
      `${path} was written by a newer arctic (format ${content.version}, this one knows ${VERSION}); upgrade this agent`,
      { path }
    )
  }
  if (content.version !== VERSION) throw damaged('it has no format version')
  for (const key of ['peer_seed', 'pegasus_key', 'tempest_key'] as const) {
    const value = content[key]
    if (typeof value !== 'string' || Buffer.from(value, 'base64').length !== 32) throw damaged(`${key} is not a key`)
  }
  return content as IdentityFile
}

function fromFile(content: IdentityFile): Identity {
  const seed = Buffer.from(content.peer_seed, 'base64')
  const signer = signerFromSeed(seed)
  // With its public half, which libp2p would otherwise derive in JavaScript, at a tenth of a second.
  const privateKey = privateKeyFromRaw(Buffer.concat([seed, signer.publicKey]))
  return {
    peerId: signer.peerId,
    privateKey,
    signer,
    pegasus: x25519(content.pegasus_key),
    tempest: x25519(content.tempest_key)
  }
}

/** DER of an X25519 private key (RFC 8410) up to the 32 raw bytes. */
const X25519_PKCS8_PREFIX = Buffer.from('302e020100300506032b656e04220420', 'hex')

function x25519(privateKey: string): KeyPair {
  const raw = Buffer.from(privateKey, 'base64')
  const key = createPrivateKey({ key: Buffer.concat([X25519_PKCS8_PREFIX, raw]), format: 'der', type: 'pkcs8' })
  const spki = createPublicKey(key).export({ format: 'der', type: 'spki' })
  return { publicKey: spki.subarray(-32).toString('base64'), privateKey }
}
