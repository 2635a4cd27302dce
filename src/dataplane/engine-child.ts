import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { open, readFile, readlink, stat } from 'node:fs/promises'
import { basename } from 'node:path'
import type { Clock } from '../clock.ts'
import { EngineClient } from './engine-client.ts'
import { engineConnectRetryMs, engineStartTimeoutMs } from './limits.ts'

/** The client of an engine that was started, or why there is none. */
export type Launched = { client: EngineClient } | { ended: string }

/** An engine whose place another one takes: where it listens, and how many threads it has, since sockets are handed over one by one. */
export interface Succeeded {
  path: string
  workers: number | undefined
}

export interface LaunchOptions {
  binary: string
  socketPath: string
  logPath: string
  succeeds: Succeeded | null
}

/**
 * Starts an engine that outlives the agent, with its log in a file, and waits until it says hello. One that does not in
 * time is killed.
 */
export async function launchEngine(
  { binary, socketPath, logPath, succeeds }: LaunchOptions,
  { clock, wanted }: { clock: Clock; wanted: () => boolean }
): Promise<Launched> {
  const logFile = await open(logPath, 'a', 0o600)
  const succession = succeeds == null ? [] : ['--succeeds', succeeds.path]
  const workers = succeeds?.workers == null ? [] : ['--workers', String(succeeds.workers)]
  const child = spawn(binary, ['--control', socketPath, ...succession, ...workers], {
    detached: true,
    cwd: '/',
    stdio: ['ignore', logFile.fd, logFile.fd]
  })
  const fate: { ended: string | null } = { ended: null }
  child.once('error', (error) => (fate.ended = error.message))
  child.once('exit', (code, signal) => (fate.ended = signal ?? `exit ${code}`))
  child.unref()
  await logFile.close()

  const deadline = clock.monotonic() + engineStartTimeoutMs
  while (fate.ended == null && clock.monotonic() < deadline && wanted()) {
    const client = await EngineClient.connect(socketPath, clock).catch(() => null)
    if (client != null) return { client }
    await clock.sleep(engineConnectRetryMs)
  }
  if (!wanted()) return { ended: 'given up' }
  if (fate.ended == null) child.kill('SIGKILL')
  return { ended: fate.ended ?? `no hello within ${engineStartTimeoutMs} ms` }
}

/** Whether a running process was started from other bytes than this file now has; false where that cannot be found out. */
export async function isOtherBuild(pid: number, binary: string): Promise<boolean> {
  try {
    const running = `/proc/${pid}/exe`
    // A program that a script runs says nothing of the script.
    if (basename((await readlink(running)).replace(/ \(deleted\)$/, '')) !== basename(binary)) return false
    const [one, other] = await Promise.all([stat(running), stat(binary)])
    if (one.dev === other.dev && one.ino === other.ino) return false
    return (await digest(running)) !== (await digest(binary))
  } catch {
    return false
  }
}

const digest = async (path: string): Promise<string> =>
  createHash('sha256')
    .update(await readFile(path))
    .digest('hex')
