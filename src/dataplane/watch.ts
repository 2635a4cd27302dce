import { spawn, type ChildProcess } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { Clock, Timer } from '../clock.ts'
import type { Logger } from '../log.ts'
import { monitorRestartMs, repairIntervalMinMs, repairIntervalMaxMs, repairSettleMs, repairSweepMs } from './limits.ts'
import type { Marks } from './marks.ts'
import { TABLE } from './ruleset.ts'

export interface WatchOptions {
  marks: Marks
  clock: Clock
  log: Logger
  /** Something that may be ours has changed: look at the kernel. Called one at a time. */
  onDisturbance: () => Promise<void>
}

/**
 * Listens to the kernel (`nft monitor`, `ip monitor`) and calls `onDisturbance` soon after something vanished that may be
 * ours, and now and then without a reason. What the lines say is only a hint; the look decides.
 *
 * @returns ends both monitors
 */
export function watchKernel({ marks, clock, log, onDisturbance }: WatchOptions): () => void {
  const stopping = new AbortController()
  let pending: Timer | null = null
  let looking = false
  let again = false
  let failures = 0
  let lastLook = Number.NEGATIVE_INFINITY

  const disturb = (): void => {
    again = true
    if (looking || pending != null || stopping.signal.aborted) return
    const interval = Math.min(repairIntervalMinMs * 2 ** failures, repairIntervalMaxMs)
    const wait = Math.max(repairSettleMs, lastLook + interval - clock.monotonic())
    pending = clock.after(wait, () => void look())
  }
  const look = async (): Promise<void> => {
    pending = null
    again = false
    looking = true
    lastLook = clock.monotonic()
    try {
      await onDisturbance()
      failures = 0
    } catch (error) {
      log[failures === 0 ? 'debug' : 'warn'](
        { error: String(error) },
        'the kernel could not be compared with what should be there; trying again'
      )
      again = true
      failures++
    }
    looking = false
    if (again) disturb()
  }

  const monitors = [
    monitor(
      'nft',
      ['monitor', 'destroy'],
      (line) => (/ (inet|arp) /.test(line) && line.includes(` ${TABLE}`)) || line.includes('lost')
    ),
    monitor('ip', ['-o', 'monitor', 'link', 'address'], () => true),
    monitor('ip', ['-o', '-N', 'monitor', 'rule', 'route'], (line) => line.includes(`proto ${marks.protocol}`))
  ]
  const sweep = clock.every(repairSweepMs, disturb)

  function monitor(program: string, args: string[], concerns: (line: string) => boolean): () => void {
    let child: ChildProcess | null = null
    const start = (): void => {
      if (stopping.signal.aborted) return
      child = spawn(program, args, { stdio: ['ignore', 'pipe', 'ignore'] })
      createInterface({ input: child.stdout! }).on('line', (line) => {
        if (concerns(line)) disturb()
      })
      child.once('error', () => {})
      child.once('close', () => {
        if (stopping.signal.aborted) return
        log.debug({ program }, 'monitor ended, starting it again')
        disturb()
        clock.after(monitorRestartMs, start)
      })
    }
    start()
    return () => child?.kill()
  }

  return () => {
    stopping.abort()
    pending?.cancel()
    sweep.cancel()
    for (const end of monitors) end()
  }
}
