import { ArcticError } from '../src/errors.ts'
import { Attacker } from './hostile/attacker.ts'
import type { SimHost } from './host/host.ts'
import type { EngineName } from './host/kernel.ts'
import { writeNovelty } from './host/newer.ts'
import { noveltyEveryMs, virtualMsMax } from './limits.ts'
import type { Rule } from './net/wire.ts'
import type { World } from './world.ts'

/**
 * The menu of what can go wrong. A fault is data with a beginning and an end, so that a list of them can be printed, typed
 * again and shrunk: any part of a list is a list. After the last end nothing is wrong any more.
 */
export interface Fault {
  kind: FaultKind
  /** Ms after the work began. */
  at: number
  /** How long, ms. */
  forMs: number
  /** Hosts in groups; what they mean is the kind's. */
  groups: number[][]
  /** Percent, ms, or what the kind says. */
  amount: number
}

interface Kind {
  about: string
  /** What it takes of a fault. */
  takes: Takes
  /** Begins it; what is returned ends it. */
  begin(world: World, fault: Fault): () => void | Promise<void>
}

export interface Takes {
  /** 'any': all unless some are named; 'some': those named; 'two': those of two groups. */
  hosts: 'any' | 'some' | 'two'
  /** Of the amount; left out where it has none. */
  amount?: { unit: string; least: number; most: number }
}

const yearMs = 366 * 86_400_000

const SOME: Takes = { hosts: 'some' }
const TWO: Takes = { hosts: 'two' }
const amountOf = (hosts: Takes['hosts'], unit: string, most: number, least = 1): Takes => ({
  hosts,
  amount: { unit, least, most }
})

const rule =
  (make: (fault: Fault) => Rule) =>
  (world: World, fault: Fault): (() => void) =>
    world.wire.lay(make(fault))

/** Both ends are among the fault's hosts, or it names none. */
const touches = ({ groups }: Fault, from: number, to: number): boolean => {
  const named = groups.flat()
  return named.length === 0 || named.includes(from) || named.includes(to)
}

const hostsOf = (world: World, { groups }: Fault): SimHost[] =>
  groups.flat().flatMap((index) => world.hosts[index] ?? [])

/** Changes something on each host, and takes it back at the end. */
const onHosts =
  (change: (host: SimHost, fault: Fault) => () => void | Promise<void>) =>
  (world: World, fault: Fault): (() => Promise<void>) => {
    const ends = hostsOf(world, fault).map((host) => change(host, fault))
    return async () => void (await Promise.all(ends.map(async (end) => end())))
  }

/** What goes on until the fault ends, and is asked for then: if it fails before, the end fails. */
function untilEnd(work: Promise<unknown>): () => Promise<void> {
  work.catch(() => {})
  return async () => void (await work)
}

const crash = (how: 'process' | 'power') =>
  onHosts((host) => {
    if (host.agent == null) return () => {}
    host.crash(how)
    return () => host.boot()
  })

const engine = (name: EngineName) =>
  onHosts((host) => {
    host.kernel.crashEngine(name)
    host.agent?.dataplane.engineCrashed(name)
    return () => {}
  })

/** On hosts that are members, whose agents run, and without which the cluster still has an admin. */
const onMembers = (change: Parameters<typeof onHosts>[0]) =>
  onHosts((host, fault) => {
    const { world } = host
    const isLast = [...world.admins].every((id) => id === host.id)
    if (isLast || host.agent == null || !world.members().includes(host)) return () => {}
    return change(host, fault)
  })

const onlyUnavailable = (error: unknown): null => {
  if (error instanceof ArcticError && error.code !== 'internal') return null
  throw error
}

export const FAULTS = {
  split: {
    about: 'groups of hosts reach nobody outside of their group; hosts that are not named are one more group',
    takes: SOME,
    begin: rule(({ groups }) => {
      const side = (host: number): number => groups.findIndex((group) => group.includes(host))
      return (from, to) => (side(from) === side(to) ? null : { cut: true })
    })
  },
  cut: {
    about: 'the hosts of the first group do not reach those of the second, nor the other way round',
    takes: TWO,
    begin: rule(
      ({ groups: [a = [], b = []] }) =>
        (from, to) =>
          (a.includes(from) && b.includes(to)) || (b.includes(from) && a.includes(to)) ? { cut: true } : null
    )
  },
  oneway: {
    about: 'what the hosts of the first group send to those of the second is lost, answers are not',
    takes: TWO,
    begin: rule(
      ({ groups: [a = [], b = []] }) =>
        (from, to) =>
          a.includes(from) && b.includes(to) ? { cut: true } : null
    )
  },
  loss: {
    about: 'this percentage of messages is lost, of all or of what the named hosts send and get',
    takes: amountOf('any', 'PERCENT', 100),
    begin: rule((fault) => (from, to) => (touches(fault, from, to) ? { loss: fault.amount / 100 } : null))
  },
  latency: {
    about: 'so many ms more each way, with as much jitter',
    takes: amountOf('any', 'MS', virtualMsMax),
    begin: rule(
      (fault) => (from, to) => (touches(fault, from, to) ? { latencyMs: fault.amount, jitterMs: fault.amount } : null)
    )
  },
  reorder: {
    about: 'gossip is up to so many ms late, each message by itself',
    takes: amountOf('any', 'MS', virtualMsMax),
    begin: rule((fault) => (from, to) => (touches(fault, from, to) ? { reorderMs: fault.amount } : null))
  },
  duplicate: {
    about: 'this percentage of gossip arrives twice',
    takes: amountOf('any', 'PERCENT', 100),
    begin: rule((fault) => (from, to) => (touches(fault, from, to) ? { duplicate: fault.amount / 100 } : null))
  },
  kill: { about: 'the agents are killed and started again at the end', takes: SOME, begin: crash('process') },
  power: { about: 'the hosts lose their power: disks are torn, kernels forget', takes: SOME, begin: crash('power') },
  restart: {
    about: 'the agents are stopped as for an upgrade and started at the end',
    takes: SOME,
    begin: onHosts((host) => {
      const stopped = untilEnd(host.stop('keep').then((leftovers) => host.world.leftBehind(host, leftovers)))
      return async () => {
        await stopped()
        await host.boot()
      }
    })
  },
  freeze: {
    about: 'the hosts stand still, as after SIGSTOP, and go on where they were',
    takes: SOME,
    begin: onHosts((host, { forMs }) => {
      host.station.frozenUntil = host.world.now + forMs
      return () => {}
    })
  },
  'disk-full': {
    about: 'writes fail, some in the middle',
    takes: SOME,
    begin: onHosts((host) => {
      host.disk.full = true
      return () => void (host.disk.full = false)
    })
  },
  'disk-slow': {
    about: 'everything the disk does takes so many times as long',
    takes: amountOf('some', 'TIMES', 10_000, 2),
    begin: onHosts((host, { amount }) => {
      host.disk.slowness = amount
      return () => void (host.disk.slowness = 1)
    })
  },
  'clock-jump': {
    about: 'the wall clock jumps by so many ms, forward or back, and is put right at the end',
    takes: amountOf('some', 'MS', yearMs, -yearMs),
    begin: onHosts((host, { amount }) => {
      host.wall.offsetMs += amount
      return () => void (host.wall.offsetMs -= amount)
    })
  },
  'kernel-refuses': {
    about: 'the kernel takes no ruleset',
    takes: SOME,
    begin: onHosts((host) => {
      host.kernel.refuses = true
      return () => void (host.kernel.refuses = false)
    })
  },
  'clock-skew': {
    about: 'the wall clock runs so many per mille too fast, or too slow, and is put right at the end',
    takes: amountOf('some', 'PER-MILLE', 1_000, -900),
    begin: onHosts(({ wall, world }, { amount }) => {
      const rate = amount / 1_000
      const { now } = world
      wall.rate += rate
      wall.offsetMs -= now * rate
      return () => {
        wall.rate -= rate
        wall.offsetMs += now * rate
      }
    })
  },
  slow: {
    about: 'the hosts do everything so many times as slowly, and answer that many ms late',
    takes: amountOf('some', 'TIMES', 10_000, 2),
    begin(world, fault) {
      const lift = world.wire.lay((_, to) => (touches(fault, to, to) ? { latencyMs: fault.amount } : null))
      for (const host of hostsOf(world, fault)) host.disk.slowness = host.kernel.slowness = fault.amount
      return () => {
        lift()
        for (const host of hostsOf(world, fault)) host.disk.slowness = host.kernel.slowness = 1
      }
    }
  },
  revoke: {
    about: 'an admin revokes the hosts, for good',
    takes: SOME,
    begin: onMembers((host) => untilEnd(host.world.revoke(host)))
  },
  clone: {
    about: 'the agents are killed, their disks copied, and both copies run, under one identity',
    takes: SOME,
    begin: onMembers((host) => {
      host.crash('process')
      const clone = host.world.clone(host)
      const booted = untilEnd(Promise.all([host.boot(), clone.boot()]))
      return async () => {
        await booted()
        if (clone.agent != null) clone.crash('process')
      }
    })
  },
  traitor: {
    about: 'somebody has the hosts and their keys: replays, forges, floods, and signs two things as one',
    takes: SOME,
    begin: onMembers((host, { forMs }) => {
      const over = untilEnd(new Attacker(host.world, host).asTraitor(forMs))
      host.world.suspect(host)
      return async () => {
        await over()
        await host.boot()
      }
    })
  },
  newer: {
    about: 'the hosts run a newer version, which writes fields and kinds that nobody else knows',
    takes: SOME,
    begin: onHosts((host) => {
      // It runs one agent, whatever that is.
      if (host.isNewer) return () => {}
      host.isNewer = true
      const over = new AbortController()
      const write = async (): Promise<void> => {
        while (!over.signal.aborted) {
          await host.world.scheduler.sleep(noveltyEveryMs)
          const isAdmin = host.world.admins.has(host.id)
          const written = isAdmin ? await host.ask(() => writeNovelty(host)).catch(onlyUnavailable) : null
          for (const [path, value] of written ?? []) host.world.novelties.set(path, { value, author: host })
        }
        host.isNewer = false
      }
      const written = untilEnd(write())
      return () => {
        over.abort()
        return written()
      }
    })
  },
  pegasus: { about: 'the TCP engine dies', takes: SOME, begin: engine('pegasus') },
  tempest: { about: 'the tunnel engine dies', takes: SOME, begin: engine('tempest') }
} as const satisfies Record<string, Kind>

export type FaultKind = keyof typeof FAULTS

/** Begins a fault and ends it in its time. */
export async function inflict(world: World, fault: Fault): Promise<void> {
  await world.scheduler.sleep(fault.at)
  world.trace.note(null, 'fault', `${formatFault(fault)} begins`)
  const end = (FAULTS[fault.kind] as Kind).begin(world, fault)
  await world.scheduler.sleep(fault.forMs)
  world.trace.note(null, 'fault', `${fault.kind} ends`)
  await end()
}

/** As `fault-list.ts` reads it. */
export const formatFaults = (faults: readonly Fault[]): string => faults.map(formatFault).join(';')

function formatFault({ kind, at, forMs, groups, amount }: Fault): string {
  const hosts = groups.length === 0 ? '' : `:${groups.map((group) => group.join()).join('|')}`
  return `${kind}@${at}+${forMs}${hosts}${amount === 0 ? '' : `=${amount}`}`
}
