import { existsSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { runNow } from './command.ts'
import { killRoundsMax } from './limits.ts'
import { runLives, runOf } from './run-id.ts'

/**
 * Ends and removes what a run has put on this machine: the processes in its namespaces (engines that an agent left
 * behind too), the namespaces, its directory. Everything is synchronous, because it runs while the process exits.
 */

/** A run's directory holds this file when its hosts shall stay. */
export const KEPT = 'kept'

export const directoryOf = (runId: string): string => join(tmpdir(), `arctic-lab-${runId}`)

/** Runs of this prefix that are on the machine, whether their process lives or not. */
export function runs(prefix: string): Array<{ runId: string; lives: boolean; kept: boolean }> {
  const names = [
    ...namespaces(),
    ...readdirSync(tmpdir())
      .filter((name) => name.startsWith('arctic-lab-'))
      .map((name) => name.slice('arctic-lab-'.length))
  ]
  const ids = new Set(names.map((name) => runOf(prefix, name)).filter((id) => id != null))
  return [...ids].map((runId) => ({
    runId,
    lives: runLives(runId),
    kept: existsSync(join(directoryOf(runId), KEPT))
  }))
}

/** Removes what killed runs of this prefix left. Runs that live, and hosts that were kept on purpose, stay. */
export function sweep(prefix: string): void {
  for (const { runId, lives, kept } of runs(prefix)) if (!lives && !kept) removeRun(runId)
}

export function removeRun(runId: string): void {
  const own = namespaces().filter((name) => name.startsWith(`${runId}-`))
  for (const name of own) killInside(name)
  for (const name of own) runNow(['ip', 'netns', 'del', name])
  rmSync(directoryOf(runId), { recursive: true, force: true })
}

/** Kills, by pid, every process that runs in a namespace of ours. */
export function killInside(namespace: string): void {
  for (let round = 0; round < killRoundsMax; round++) {
    const pids = pidsInside(namespace)
    if (pids.length === 0) return
    for (const pid of pids) {
      try {
        process.kill(pid, 'SIGKILL')
      } catch {
        // Gone already.
      }
    }
    // Dying takes the kernel a moment; there is no event loop to wait on here.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10)
  }
}

export const pidsInside = (namespace: string): number[] =>
  runNow(['ip', 'netns', 'pids', namespace])
    .stdout.split('\n')
    .filter((line) => line !== '')
    .map(Number)

const namespaces = (): string[] => {
  try {
    return readdirSync('/run/netns')
  } catch {
    return []
  }
}
