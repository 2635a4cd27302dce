import { readFileSync } from 'node:fs'

/**
 * A run's name, `PREFIX-PID-START-N`: unique on this machine, and anybody can tell from it whether its process still
 * lives. START is the process's start time in clock ticks, since pids come around again; N counts the labs of a process.
 */
export const runIdOf = (prefix: string, pid: number, n: number): string =>
  `${prefix}-${pid}-${startTicks(pid) ?? 0}-${n}`

/** Whether the process that a run's name tells of is still there. */
export function runLives(runId: string): boolean {
  const [, ticks, pid] = runId.split('-').reverse()
  return pid != null && ticks != null && startTicks(Number(pid)) === ticks
}

/** The run that a namespace or a directory of `prefix` belongs to; null for a name that no lab gave. */
export function runOf(prefix: string, name: string): string | null {
  if (!name.startsWith(`${prefix}-`)) return null
  const match = /^\d+-\d+-\d+(?=-|$)/.exec(name.slice(prefix.length + 1))
  return match == null ? null : `${prefix}-${match[0]}`
}

/** Field 22 of /proc/PID/stat, counted behind the command's closing bracket (a command may hold spaces). */
function startTicks(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? null
  } catch {
    return null
  }
}
