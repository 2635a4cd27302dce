import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { Clock, Timer } from '../clock.ts'
import type { Logger } from '../log.ts'
import {
  monitorRestartMs,
  monitorStartMs,
  repairIntervalMinMs,
  repairIntervalMaxMs,
  repairSettleMs,
  repairSweepMs
} from './limits.ts'
import type { Marks } from './marks.ts'
import { TABLE } from './ruleset.ts'

/**
 * What there is to look at: our tables of nftables, the host's links, addresses and own routes with our devices among them,
 * and our policy rules and routes.
 */
export type Part = 'ruleset' | 'networks' | 'policy'

export const EVERYTHING: ReadonlySet<Part> = new Set(['ruleset', 'networks', 'policy'])

export interface WatchOptions {
  marks: Marks
  clock: Clock
  log: Logger
  /** It may be otherwise than it was read. Called at once, for whatever was heard. */
  onChange: (part: Part) => void
  /** Something that may be ours has changed: look at these parts of the kernel. Called one at a time. */
  onDisturbance: (parts: ReadonlySet<Part>) => Promise<void>
}

export interface KernelWatch {
  /** Whether all that may change is heard of. */
  isListening(): boolean
  /** Ends the monitors; resolves once they are gone. */
  end(): Promise<void>
}

/** What a line of a monitor is about, and whether a look at it is due. */
type Reader = (line: string) => { parts: readonly Part[]; look: boolean } | null

/**
 * Listens to the kernel (`nft monitor`, `ip monitor`) and calls `onDisturbance` soon after something vanished that may be
 * ours, and now and then without a reason. What the lines say is only a hint; the look decides.
 */
export function watchKernel({ marks, clock, log, onChange, onDisturbance }: WatchOptions): KernelWatch {
  const stopping = new AbortController()
  let pending: Timer | null = null
  let looking = false
  let due = new Set<Part>()
  let failures = 0
  let lastLook = Number.NEGATIVE_INFINITY

  const disturb = (parts: Iterable<Part>): void => {
    for (const part of parts) due.add(part)
    if (due.size === 0 || looking || pending != null || stopping.signal.aborted) return
    const interval = Math.min(repairIntervalMinMs * 2 ** failures, repairIntervalMaxMs)
    const wait = Math.max(repairSettleMs, lastLook + interval - clock.monotonic())
    pending = clock.after(wait, () => void look())
  }
  const disturbAll = (): void => {
    for (const part of EVERYTHING) onChange(part)
    disturb(EVERYTHING)
  }
  const look = async (): Promise<void> => {
    pending = null
    looking = true
    lastLook = clock.monotonic()
    const parts = due
    due = new Set()
    try {
      await onDisturbance(parts)
      failures = 0
    } catch (error) {
      log[failures === 0 ? 'debug' : 'warn'](
        { error: String(error) },
        'the kernel could not be compared with what should be there; trying again'
      )
      for (const part of parts) due.add(part)
      failures++
    }
    looking = false
    disturb([])
  }

  const ours = `proto ${marks.protocol}`
  const monitors = [
    monitor('nft', ['monitor', 'destroy'], (line) =>
      (/ (inet|arp) /.test(line) && line.includes(` ${TABLE}`)) || line.includes('lost')
        ? { parts: ['ruleset'], look: true }
        : null
    ),
    // With a device go the routes by it, of which the kernel says nothing. `netconf` tells of sysctls.
    monitor('ip', ['-o', 'monitor', 'link', 'address', 'netconf'], () => ({
      parts: ['networks', 'policy'],
      look: true
    })),
    // Others' routes say by which interface what is reached, which the next apply wants to know. One without a gateway is
    // an attached network, which no broader route may go on taking.
    monitor('ip', ['-o', '-N', 'monitor', 'rule', 'route'], (line) =>
      line.includes(ours)
        ? { parts: ['policy'], look: true }
        : { parts: ['networks'], look: !/ (via|nhid|table|lookup) /.test(line) }
    )
  ]
  const sweep = clock.every(repairSweepMs, disturbAll)

  function monitor(program: string, args: string[], read: Reader): { isUp: () => boolean; end: () => Promise<void> } {
    let child: ChildProcess | null = null
    let isUp = false
    const start = (): void => {
      if (stopping.signal.aborted) return
      // A monitor notices that nobody reads it when it next has something to say: a killed agent's ends with the agent.
      const own = spawn('setpriv', ['--pdeathsig', 'TERM', program, ...args], { stdio: ['ignore', 'pipe', 'ignore'] })
      child = own
      // It does not say when it has begun to listen, and what came before that is to be looked for.
      const begun = clock.after(monitorStartMs, () => {
        isUp = true
        disturbAll()
      })
      createInterface({ input: own.stdout }).on('line', (line) => {
        const heard = read(line)
        if (heard == null) return
        for (const part of heard.parts) onChange(part)
        if (heard.look) disturb(heard.parts)
      })
      own.once('error', () => {})
      own.once('close', () => {
        child = null
        begun.cancel()
        isUp = false
        if (stopping.signal.aborted) return
        log.debug({ program }, 'monitor ended, starting it again')
        disturbAll()
        clock.after(monitorRestartMs, start)
      })
    }
    start()
    const end = async (): Promise<void> => {
      if (child?.kill() === true) await once(child, 'close')
    }
    return { isUp: () => isUp, end }
  }

  return {
    isListening: () => monitors.every(({ isUp }) => isUp()),
    end: async () => {
      stopping.abort()
      pending?.cancel()
      sweep.cancel()
      await Promise.all(monitors.map(({ end }) => end()))
    }
  }
}
