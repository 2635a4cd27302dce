import { flushCompileCache } from 'node:module'
import { setImmediate } from 'node:timers/promises'
import { systemClock } from './clock.ts'
import { readAgentConfig, type AgentConfig } from './config.ts'
import { automerge } from './crdt/automerge.ts'
import { ArcticError } from './errors.ts'
import { keepHeapSmall } from './heap.ts'
import { createLogger } from './log.ts'
import { LogTail } from './log-tail.ts'

/** How long after a start nobody is waiting for it any more, ms. */
const automergeAfterMs = 3_000
/** And what is compiled of the program by now is what a start needs. Before V8 is given other flags (`heap.ts`), with which it takes no code of those before. */
const settledAfterMs = 4_000

/** Of bin/arctic, for glibc of the agent's own process. */
const LAUNCHER_SETS = ['MALLOC_TRIM_THRESHOLD_', 'MALLOC_ARENA_MAX'] as const

/**
 * `arctic agent`: from argv to exit code. Signals decide how it ends (README, "Signals"). `settled` is called a while after
 * a start: whether it began in a cluster, with a data plane, and so did all that there is to do.
 */
export async function runAgent(
  argv: string[],
  environment: NodeJS.ProcessEnv,
  { settled = () => {} }: { settled?: (isWhole: boolean) => void } = {}
): Promise<number> {
  let config: AgentConfig
  try {
    config = readAgentConfig(argv, environment)
  } catch (error) {
    return complain(error)
  }

  // ── above: read. Below: touch the host. ──────────────────────────────────────────────────────────────────────────────

  const tail = new LogTail()
  const log = await createLogger({ level: config.logLevel, format: config.logFormat, tail })
  // The launcher sets them for this process; engines want their memory as they are used to.
  for (const name of LAUNCHER_SETS) delete process.env[name]
  const { Agent } = await import('./agent.ts')
  const agent = new Agent(config, log, tail)
  let fail: (error: unknown) => void = () => {}
  const failed = new Promise<never>((_, reject) => {
    fail = reject
  })
  const asked = new Promise<'remove' | 'keep'>((resolve) => {
    process.once('SIGTERM', () => resolve('remove'))
    process.once('SIGINT', () => resolve('remove'))
    process.once('SIGUSR2', () => resolve('keep'))
  })
  process.on('SIGHUP', () => {
    try {
      agent.reload(readAgentConfig(argv, environment))
    } catch (error) {
      log.warn({ error: String(error) }, 'the configuration was not reloaded; the old one stays in force')
    }
  })
  process.on('unhandledRejection', (error) => {
    log.error(
      { error: error instanceof Error ? error.stack : String(error) },
      'unhandled rejection; this is a bug, please report it'
    )
  })
  try {
    // A signal during the start waits for it, so that what is stopped is whole.
    await agent.start({ onFatal: fail })
    // Node writes what it has compiled when it exits, which an agent that is killed never does.
    flushCompileCache()
    keepHeapSmall(systemClock)
    // A start goes without it mostly; a write that needs it should not wait for it.
    systemClock.after(automergeAfterMs, automerge)
    systemClock.after(settledAfterMs, () => settled(agent.beganInCluster && config.dataplane === 'kernel'))
  } catch (error) {
    await agent.stop({ mode: agent.adopted ? 'keep' : 'remove' })
    return complain(error)
  }
  try {
    await agent.stop({ mode: await Promise.race([asked, failed]) })
    return 0
  } catch (error) {
    // Traffic goes on without us: only an operator's signal takes it down.
    await agent.stop({ mode: 'keep' })
    return complain(error)
  }
}

async function complain(error: unknown): Promise<number> {
  // Lines of the log that wait for the end of this turn come first: who reads the last line reads this one.
  await setImmediate()
  if (error instanceof ArcticError) {
    process.stderr.write(`error: ${error.code}: ${error.message}\n`)
    return error.exitCode
  }
  process.stderr.write(`error: internal: ${error instanceof Error ? error.stack : String(error)}\n`)
  return 1
}
