import { CHECKERS } from './checkers/index.ts'
import { shareSignatures } from './host/signatures.ts'
import { formatFaults, inflict, type Fault } from './faults.ts'
import { settleMaxMs, wholePeersMax } from './limits.ts'
import type { AgentKind } from './host/agent.ts'
import type { NetworkKind } from './net/host-network.ts'
import type { Scenario } from './scenarios/scenario.ts'
import type { TimelineEvent } from './trace.ts'
import { Operators } from './workload.ts'
import { rememberSignals } from './abandoned-signals.ts'
import { World, type Violation } from './world.ts'

export interface RunOptions {
  scenario: Scenario
  peers: number
  seed: string
  /** The light one unless said; libp2p holds the process's time and chance while it runs. */
  network?: NetworkKind
  /** Whole ones unless said, or light ones where there are too many. */
  agents?: AgentKind
  /** Instead of the scenario's own. */
  faults?: readonly Fault[]
  /** Breaks something on purpose, before the work begins: what checkers are proven with. */
  mutate?: (world: World) => void | Promise<void>
  onProgress?: (phase: string, virtualMs: number) => void
}

export interface RunResult {
  scenario: string
  seed: string
  peers: number
  agents: AgentKind
  trace_hash: string
  violations: Violation[]
  virtual_seconds: number
  wall_seconds: number
  /** The most that the process has held so far, resident. */
  memory_megabytes: number
  /** Virtual ms from the end of all faults until all agreed; null when they never did. */
  settled_ms: number | null
  changes: number
  refused: number
  /** Messages that arrived, gossip and streams. */
  deliveries: number
  bytes: number
  applies: number
  events: number
  faults: string
  /** Virtual ms at which work and faults began; the faults' times count from there. */
  work_began_ms: number
  timeline: TimelineEvent[]
}

/**
 * One run, from nothing to nothing:
 *
 * 1. The founders' cluster is made by invites, as operators do it.
 * 2. Work, faults and the scenario's own story go on side by side; some checkers look on every virtual second.
 * 3. All faults end. Everything has `settleMaxMs` to come to rest; then all checkers look.
 * 4. All agents are stopped. Nothing of them may be left.
 */
export async function simulate(options: RunOptions): Promise<RunResult> {
  const { scenario, peers, seed, network = 'light' } = options
  const began = performance.now()
  const agents = options.agents ?? agentsFor(peers)
  const world = new World(`${scenario.name} ${peers} ${seed}`, { network, agents })
  const release = network === 'light' ? null : await hold(world)
  const faults = options.faults ?? scenario.faults({ peers, random: world.random.fork('faults') })
  const operators = new Operators(world, scenario.workload)
  const unheard = (error: unknown): void => world.violate('errors', `a promise was rejected unheard: ${String(error)}`)
  process.on('unhandledRejection', unheard)
  const endSharing = shareSignatures()
  const forgetSignals = rememberSignals()
  let settled: number | null = null
  try {
    settled = await world.scheduler.run(play(world, operators, faults, options))
  } catch (error) {
    world.violate(
      'errors',
      `the run broke off: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`
    )
  } finally {
    process.off('unhandledRejection', unheard)
    release?.()
    endSharing()
    forgetSignals()
  }
  const { counts, timeline } = world.trace
  return {
    scenario: scenario.name,
    seed,
    peers,
    agents,
    trace_hash: world.trace.digest(),
    violations: world.violations,
    virtual_seconds: Math.round(world.now) / 1000,
    wall_seconds: Math.round(performance.now() - began) / 1000,
    memory_megabytes: Math.round(process.resourceUsage().maxRSS / 1024),
    settled_ms: settled,
    changes: operators.changes,
    refused: operators.refused,
    deliveries: counts.gossip + counts.frames,
    bytes: counts.bytes,
    applies: counts.applies,
    events: world.scheduler.ran,
    faults: formatFaults(faults),
    work_began_ms: Math.round(world.workBeganAt),
    timeline
  }
}

export const agentsFor = (peers: number): AgentKind => (peers > wholePeersMax ? 'light' : 'whole')

const hold = async ({ scheduler, random }: World): Promise<() => void> => {
  const { holdGlobals } = await import('./net/libp2p/globals.ts')
  // Before the first agent asks for it, and outside of virtual time.
  await import('./net/libp2p/network.ts')
  return holdGlobals(scheduler, random.fork('process'))
}

async function play(
  world: World,
  operators: Operators,
  faults: readonly Fault[],
  { scenario, peers, mutate, onProgress }: RunOptions
): Promise<number | null> {
  const tell = (phase: string): void => onProgress?.(phase, world.now)
  tell('the cluster is founded')
  await assemble(world, peers, Math.min(peers, scenario.founders?.(peers) ?? peers))
  await mutate?.(world)

  tell('operators work, faults come and go')
  world.workBeganAt = world.now
  const resting = new AbortController()
  const watched = watch(world, resting.signal)
  const working = operators.work()
  const ended = Promise.all(faults.map((fault) => inflict(world, fault)))
  // Each is asked for later; what has failed by then is told there, once.
  for (const later of [watched, working, ended]) later.catch(() => {})
  await Promise.all([world.scheduler.sleep(scenario.durationMs), scenario.drive?.(world)])
  operators.stop()
  await Promise.all([working, ended])

  tell('nothing fails any more, all come to rest')
  const settled = await world.settle(settleMaxMs)
  world.trace.note(null, 'agree', settled == null ? 'no rest in time' : `at rest after ${Math.round(settled)} ms`)
  if (settled == null)
    world.violate('agreement', `${Math.round(settleMaxMs / 1000)} s after the last fault: ${world.unrest()}`)
  tell('checkers look')
  for (const checker of CHECKERS) checker.atRest?.(world)
  resting.abort()
  await watched

  tell('all agents are stopped')
  await Promise.all(world.hosts.map(async (host) => world.leftBehind(host, await host.stop('remove'))))
  return settled
}

async function watch(world: World, until: AbortSignal): Promise<void> {
  while (!until.aborted) {
    for (const checker of CHECKERS) checker.always?.(world)
    await world.scheduler.sleep(1_000)
  }
}

/** Of the founders, every third is an admin, beginning with the second; a cluster of two has two. */
const adminEach = 3

/** Founders join one after the other, by an admin who is in; the other hosts only run. */
async function assemble(world: World, peers: number, founders: number): Promise<void> {
  const random = world.random.fork('founding')
  const first = await world.found('sim')
  for (let i = 1; i < founders; i++) {
    const admins = world.members().filter(({ id }) => world.admins.has(id))
    await world.join(i === 1 ? first : random.pick(admins), i % adminEach === 1 ? 'admin' : 'member')
  }
  for (let i = founders; i < peers; i++) await world.host().boot()
}
