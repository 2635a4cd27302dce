import { link, readFile, readlink, rename, symlink, unlink, writeFile } from 'node:fs/promises'
import { UnavailableError } from '../errors.ts'
import { hex } from './bytes.ts'
import { isFull } from './full.ts'
import type { Random } from '../random.ts'

/**
 * One agent per state directory. Node has no flock, so the lock is a file that names its holder by pid and start time,
 * which no two processes of one boot share; a holder that is gone is replaced.
 *
 * 1. Write a file of our own, then link() it to the lock's name: one process alone succeeds.
 * 2. Is the name taken by a live process, say so.
 * 3. Is its holder gone, take the lock on the taking over (the same procedure, one name further), look again, and only
 *    if the same dead holder still stands there, rename our file over it.
 *
 * On a full disk the file is a link that leads nowhere and is named as its holder: so short a name stands in the directory's own
 * entry of it, and an agent that starts then can still tell what it holds and carry what it carried.
 */
export interface Lock {
  release(): Promise<void>
}

/** UnavailableError when a live process holds it. */
export function acquireLock(path: string, random: Random): Promise<Lock> {
  return acquire(path, random, 0)
}

async function acquire(path: string, random: Random, depth: number): Promise<Lock> {
  const token = hex(random.bytes(8))
  const mine = `${path}.${token}`
  const me: Holder = { pid: process.pid, start: (await startOf(process.pid)) ?? '', boot: await bootId(), token }
  try {
    await write(mine, me)
    await take(path, mine, depth, random)
  } finally {
    await unlink(mine).catch(ignoreMissing)
  }
  return {
    async release() {
      const holder = await readHolder(path)
      if (holder?.token === token) await unlink(path).catch(ignoreMissing)
    }
  }
}

async function write(path: string, holder: Holder): Promise<void> {
  try {
    await writeFile(path, JSON.stringify(holder), { mode: 0o600, flag: 'wx' })
  } catch (error) {
    if (!isFull(error)) throw error
    await unlink(path).catch(ignoreMissing)
    const { pid, start, boot, token } = holder
    await symlink([pid, start, short(boot), token].join('.'), path)
  }
}

async function take(path: string, mine: string, depth: number, random: Random): Promise<void> {
  for (let round = 0; round < ROUNDS; round++) {
    try {
      await link(mine, path)
      return
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    }
    const holder = await readHolder(path)
    if (holder == null) continue
    if (await isAlive(holder)) {
      throw new UnavailableError(
        `another agent (pid ${holder.pid}) uses this state directory; stop it, or give this one another --state-dir`,
        { pid: holder.pid, path }
      )
    }
    if (depth === DEPTH) break
    const takeover = await acquire(`${path}.takeover`, random, depth + 1)
    try {
      const still = await readHolder(path)
      if (still?.token !== holder.token) continue
      await rename(mine, path)
      return
    } finally {
      await takeover.release()
    }
  }
  throw new UnavailableError(`the lock ${path} cannot be taken; remove it if no agent runs`, { path })
}

interface Holder {
  pid: number
  start: string
  boot: string
  token: string
}

/** Takeovers of takeovers: each one needs an agent that died within the same milliseconds. */
const DEPTH = 3
const ROUNDS = 8

/** null when the file has just gone. Text that is no holder belongs to nobody alive: link() makes files whole. */
async function readHolder(path: string): Promise<Holder | null> {
  let text: string
  try {
    const named = await readlink(path).catch(ignoreOtherKind)
    if (named != null) {
      const [pid = '', start = '', boot = '', token = named] = named.split('.')
      return { pid: Number(pid), start, boot, token }
    }
    text = await readFile(path, 'utf8')
  } catch (error) {
    ignoreMissing(error)
    return null
  }
  try {
    const { pid, start, boot, token } = JSON.parse(text) as Partial<Holder>
    return { pid: Number(pid), start: String(start), boot: String(boot), token: String(token) }
  } catch {
    return { pid: 0, start: '', boot: '', token: text }
  }
}

async function isAlive(holder: Holder): Promise<boolean> {
  const boot = await bootId()
  return (
    [boot, short(boot)].includes(holder.boot) && holder.start !== '' && holder.start === (await startOf(holder.pid))
  )
}

/** The process's start in clock ticks since boot: field 22 of its stat line, counted behind the name's last ")". */
async function startOf(pid: number): Promise<string | null> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return fields[0] === 'Z' ? null : (fields[19] ?? null)
  } catch {
    return null
  }
}

const bootId = async (): Promise<string> => (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim()

/** 64 bits of it. */
const short = (boot: string): string => boot.replaceAll('-', '').slice(0, 16)

function ignoreOtherKind(error: unknown): null {
  if ((error as NodeJS.ErrnoException).code !== 'EINVAL') throw error
  return null
}

function ignoreMissing(error: unknown): void {
  if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
}
