import { run } from '../lab/command.ts'
import { sleep, until } from '../lab/wait.ts'
import { cpuSeconds } from './cpu.ts'
import { realTimePriority, restMs, shortConnections } from './limits.ts'
import { requests } from './load.ts'
import type { Column } from './report.ts'
import type { Contender, Figures } from './rounds.ts'
import type { Path } from './tcp.ts'

export const SMALL_COLUMNS: readonly Column[] = [
  { title: 'short connections/s', figure: 'connections', digits: 0 },
  { title: 'CPU µs for each', figure: 'cpuPerConnection', digits: 0 },
  { title: 'agents, CPU µs for each', figure: 'agentsPerConnection', digits: 0 },
  { title: 'ping-pong p50 µs', figure: 'p50', digits: 0 },
  { title: 'p99 µs', figure: 'p99', digits: 0 },
  { title: 'CPU µs for each', figure: 'cpuPerPingPong', digits: 1 }
]

/** The figures of {@link SMALL_COLUMNS}, one load after the other, each `seconds` long. */
export async function smallLoads(contender: Contender<Path>, seconds: number): Promise<Figures> {
  const { path, pids, besides = [] } = contender
  // First, and when all are at rest: after thousands of short connections agents write about them for a while.
  await sleep(restMs)
  const pingPong = await pingPongOver(contender, seconds)
  const before = cpuSeconds(besides)
  const load = { connections: shortConnections, seconds, close: true, pids }
  const short = await requests(path.client, path.requests, load)
  const agents = ((cpuSeconds(besides) - before) * 1e6) / short.count
  return {
    connections: short.perSecond,
    cpuPerConnection: short.cpu,
    agentsPerConnection: besides.length === 0 ? Number.NaN : agents,
    p50: pingPong.p50,
    p99: pingPong.p99,
    cpuPerPingPong: pingPong.cpu
  }
}

/**
 * One request after the other over one connection, with everybody on the way in a real-time class: client, carriers and server.
 * Without it the 99th percentile is what other processes of the machine do, the same with every contender and with none.
 */
async function pingPongOver({ path, pids }: Contender<Path>, seconds: number): ReturnType<typeof requests> {
  const onTheWay = [...pids, path.server.pid]
  const schedule = (policy: string, priority: string): Promise<unknown> =>
    Promise.all(onTheWay.map((pid) => untilItHolds(['chrt', '--all-tasks', policy, '--pid', priority, String(pid)])))
  await schedule(...REAL_TIME)
  try {
    const load = { connections: 1, seconds, close: false, pids, starter: ['chrt', ...REAL_TIME] }
    return await requests(path.client, path.requests, load)
  } finally {
    await schedule('--other', '0')
  }
}

/** A thread that ends while all of a process are gone over (stunnel has one for each connection) is an error to chrt. */
const untilItHolds = (argv: readonly string[]): Promise<unknown> =>
  until(argv.join(' '), async () => (await run(argv), true), { timeoutMs: 1_000, everyMs: 50 })

const REAL_TIME = ['--fifo', String(realTimePriority)] as const
