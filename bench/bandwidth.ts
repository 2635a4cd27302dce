/**
 * How well `bandwidth_limit_mbps` is kept and shared, on real agents, both directions, over both workers:
 *
 *   node bench/bandwidth.ts [--limits 1,10,100,500,1000,4000] [--seconds 10]
 *
 * For each limit and direction: one flow alone, then eight; what the receiver got against the limit, and Jain's index of
 * the eight. Then what an eighth flow gets of its share from 200 ms after its start on, while seven others run (down).
 * Prints a Markdown table.
 */
import { parseArgs } from 'node:util'
import { systemClock } from '../src/clock.ts'
import type { Host } from '../lab/host.ts'
import { Lab } from '../lab/lab.ts'
import { ensurePrivilege } from '../lab/privileges.ts'
import { SERVER } from '../lab/topology.ts'
import { graceMs, manyFlows } from './limits.ts'
import { iperfServers } from './load.ts'
import { carry, pairOn } from './pair.ts'
import { jain } from './report.ts'
import { benchSites } from './topology.ts'

type Direction = 'up' | 'down'

const PORT = { measured: 5201, newcomer: 5202 }
/** When the newcomer starts, and how long it is watched from 200 ms after its first byte on, s. */
const NEWCOMER = { afterS: 3, skipS: 0.2, watchS: 2 }

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      limits: { type: 'string', default: '1,10,100,500,1000,4000' },
      seconds: { type: 'string', default: '10' }
    }
  })
  const seconds = Number(values.seconds)
  ensurePrivilege()
  const lab = await Lab.create({ prefix: 'arctic-bandwidth' })
  try {
    const sites = await benchSites(lab)
    const { client, server } = sites
    const peers = await pairOn(sites)
    const service = await carry(peers)
    for (const port of Object.values(PORT)) await iperfServers(server, [SERVER.v4], port)
    process.stdout.write(
      `| Mbit/s asked | way | 1 flow: Mbit/s (off by) | ${manyFlows} flows: Mbit/s (off by) | Jain | a new flow's part of its share |\n` +
        '| ---: | --- | ---: | ---: | ---: | ---: |\n'
    )
    for (const limit of values.limits.split(',').map(Number)) {
      await peers[0].ask('services', 'update', service, '--bandwidth-limit', String(limit))
      await Promise.all(peers.map((peer) => peer.active(service)))
      for (const way of ['up', 'down'] as const) {
        const one = await transfer(client, { way, flows: 1, seconds })
        const many = await transfer(client, { way, flows: manyFlows, seconds })
        const part = way === 'down' ? await newcomersPart(client, limit / manyFlows) : null
        const got = ({ mbps }: Transfer): string =>
          `${mbps.toFixed(mbps < 100 ? 3 : 0)} (${(100 * (mbps / limit - 1)).toFixed(1)} %)`
        const cells = [
          limit,
          way,
          got(one),
          got(many),
          jain(many.each).toFixed(4),
          part == null ? '–' : `${(100 * part).toFixed(0)} %`
        ]
        process.stdout.write(`| ${cells.join(' | ')} |\n`)
      }
    }
  } finally {
    lab.close()
  }
}

interface Transfer {
  mbps: number
  /** Bytes of each flow as received. */
  each: number[]
}

/** The first second is not counted: buffers fill. */
async function transfer(
  client: Host,
  { way, flows, seconds }: { way: Direction; flows: number; seconds: number }
): Promise<Transfer> {
  const { end } = await iperf(client, PORT.measured, way, ['-P', flows, '-t', seconds, '-O', 1])
  const each = end.streams.map(({ receiver }) => receiver.bytes)
  const [first] = end.streams
  const sum = each.reduce((a, b) => a + b, 0)
  return { mbps: (sum * 8) / (first?.receiver.seconds ?? Number.NaN) / 1e6, each }
}

/**
 * What one more flow gets beside seven from 200 ms after its start on, as a part of `shareMbps`. Down, since iperf3 tells
 * tenths of a second at the client only, and what counts is what was received.
 */
async function newcomersPart(client: Host, shareMbps: number): Promise<number> {
  const seconds = NEWCOMER.afterS + NEWCOMER.skipS + NEWCOMER.watchS + 2
  const others = iperf(client, PORT.measured, 'down', ['-P', manyFlows - 1, '-t', seconds])
  await systemClock.sleep(NEWCOMER.afterS * 1000)
  const flags = ['-t', NEWCOMER.skipS + NEWCOMER.watchS, '-i', 0.1]
  const { intervals } = await iperf(client, PORT.newcomer, 'down', flags)
  await others
  const watched = intervals.map(({ sum }) => sum).filter(({ start }) => start >= NEWCOMER.skipS - 0.01)
  const bits = watched.reduce((all, { bytes }) => all + bytes * 8, 0)
  const time = watched.reduce((all, { seconds: s }) => all + s, 0)
  return bits / time / 1e6 / shareMbps
}

interface Iperf {
  error?: string
  intervals: { sum: { start: number; seconds: number; bytes: number } }[]
  end: { streams: { receiver: { bytes: number; seconds: number } }[] }
}

async function iperf(client: Host, port: number, way: Direction, flags: (string | number)[]): Promise<Iperf> {
  const argv = ['iperf3', '-J', '-c', SERVER.v4, '-p', port, ...(way === 'down' ? ['-R'] : []), ...flags].map(String)
  const { stdout } = await client.attempt(argv, { timeoutMs: 60_000 + graceMs })
  const answer = JSON.parse(stdout || '{"error":"no answer"}') as Iperf
  if (answer.error != null) throw new Error(`${argv.join(' ')}: ${answer.error}`)
  return answer
}

await main()
