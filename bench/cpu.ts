import { readdirSync, readFileSync } from 'node:fs'

/** Kernel clock ticks a second, as /proc counts them; the same on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100

/** CPU time, user and system, that these processes have used so far with all their threads, seconds. */
export function cpuSeconds(pids: readonly number[]): number {
  return pids
    .map((pid) => {
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
      return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND
    })
    .reduce((sum, seconds) => sum + seconds, 0)
}

export const cpuModel = (): string =>
  /^model name\s*:\s*(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? 'unknown CPU'

/** These processes and those they have started. */
export function withChildren(pids: readonly number[]): number[] {
  const children = pids.flatMap((pid) =>
    readdirSync(`/proc/${pid}/task`).flatMap((thread) =>
      readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8').split(' ').filter(Boolean).map(Number)
    )
  )
  return children.length === 0 ? [...pids] : [...pids, ...withChildren(children)]
}
