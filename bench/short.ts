/**
 * Short connections and ping-pong through the mesh, through others, and without anything on the way:
 * `node bench/short.ts [--rounds 5] [--seconds 4] [--write]`
 *
 * With the defaults it takes about six minutes.
 */
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { isoTime, systemClock } from '../src/clock.ts'
import { Lab } from '../lab/lab.ts'
import { ensurePrivilege } from '../lab/privileges.ts'
import { cpuModel } from './cpu.ts'
import { realTimePriority, roundsDefault, secondsDefault, shortConnections } from './limits.ts'
import { carry, pairOn } from './pair.ts'
import { table } from './report.ts'
import { inRounds } from './rounds.ts'
import { replaceSection } from './section.ts'
import { SMALL_COLUMNS, smallLoads } from './small.ts'
import { haproxy, mesh, others, serve } from './tcp.ts'
import { benchSites } from './topology.ts'

const RESULTS = fileURLToPath(new URL('./RESULTS.md', import.meta.url))

const { values } = parseArgs({
  options: { rounds: { type: 'string' }, seconds: { type: 'string' }, write: { type: 'boolean', default: false } }
})
const rounds = Number(values.rounds ?? roundsDefault)
const seconds = Number(values.seconds ?? secondsDefault)
ensurePrivilege()
const lab = await Lab.create({ prefix: 'arctic-short' })
try {
  const sites = await benchSites(lab)
  const peers = await pairOn(sites)
  await carry(peers)
  const server = await serve(sites)
  const contenders = [
    await mesh('arctic (Pegasus)', sites, server, peers),
    await haproxy(sites, server),
    ...(await others(sites, server))
  ]
  const progress = (text: string): void => void process.stderr.write(`${text}\n`)
  const results = await inRounds(contenders, rounds, (contender) => smallLoads(contender, seconds), progress)
  const plain = results.at(-1)?.median['p99'] ?? Number.NaN
  const text = `## Short connections and ping-pong

${table(results, SMALL_COLUMNS, 'HAProxy, TLS 1.3')}

In brackets: times the figure of HAProxy with TLS. Short connections: ${shortConnections} at a time, one HTTP request each; ping-pong: one small HTTP
request after the other over one connection. "CPU" is user and system time of the two processes that carry; the agents write an
access line for each connection on both hosts.

During a ping-pong everybody on the way, client, carriers and server, has the same real-time class (\`chrt --fifo ${realTimePriority}\`), whoever
carries. In the usual class its 99th percentile says how often another process of this machine had the core: plain routing
had the same. Here plain routing has ${plain.toFixed(0)} µs, which is what is left of that.

Made by \`node bench/short.ts --rounds ${rounds} --seconds ${seconds}\` on ${isoTime(systemClock.now()).slice(0, 10)}, ${cpuModel()}; medians, interleaved.`
  process.stdout.write(`${text}\n`)
  if (values.write) replaceSection(RESULTS, 'short', text)
} finally {
  lab.close()
}
