/**
 * What one small flow waits for: `node bench/latency.ts [--only link,bulk,strangers] [--rounds 3] [--write]`
 *
 * 1. link: a new flow over a link of 50 ms, from before the connect to the first byte of the answer.
 * 2. bulk: a byte there and back of a service at its limit, beside eight flows that take what they get.
 * 3. strangers: a byte there and back while others hold, drip at and shout at the target's data port.
 *
 * Everything in one run, in turn, medians. Takes some three minutes.
 */
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { isoTime, systemClock } from '../src/clock.ts'
import type { BadWire } from '../lab/bad-wire.ts'
import type { Host } from '../lab/host.ts'
import { Lab } from '../lab/lab.ts'
import { ensurePrivilege } from '../lab/privileges.ts'
import { EDGE_B, type TwoSites } from '../lab/topology.ts'
import { ping, pingPong, stranger, tcpServer } from '../lab/traffic/tools.ts'
import { entry, exit } from './haproxy.ts'
import {
  halfOpenStrangers,
  limitedMbps,
  linkMs,
  loudStrangers,
  manyFlows,
  newFlows,
  pings,
  roundsDefault
} from './limits.ts'
import { bulk, iperfServers } from './load.ts'
import { carry, pairOn } from './pair.ts'
import { table, type Column } from './report.ts'
import { inRounds, type Contender, type Figures } from './rounds.ts'
import { replaceSection } from './section.ts'
import { addServerAddress, badBenchSites, MESH, PLAIN } from './topology.ts'

const [ECHO, BULK] = [7001, 5201]
const PROXY = { entry: 6001, exit: 6002 }
const LIMITED = '10.2.0.9'
const RESULTS = fileURLToPath(new URL('./RESULTS.md', import.meta.url))

interface Way {
  address: string
  port: number
}
interface Stage {
  sites: TwoSites
  wire: BadWire
  ways: Array<Contender<Way>>
  rounds: number
}

const PARTS: Record<string, (stage: Stage) => Promise<string>> = { link, bulk: besideBulk, strangers: besideStrangers }

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      only: { type: 'string', default: Object.keys(PARTS).join(',') },
      rounds: { type: 'string', default: String(roundsDefault) },
      write: { type: 'boolean', default: false }
    }
  })
  ensurePrivilege()
  const lab = await Lab.create({ prefix: 'arctic-latency' })
  try {
    const stage = await set(lab, Number(values.rounds))
    for (const part of values.only.split(',')) {
      const told = await PARTS[part]!(stage)
      const text = `${told}\n\nMade by \`node bench/latency.ts --only ${part}\` on ${isoTime(systemClock.now()).slice(0, 10)}; medians of ${values.rounds} rounds, interleaved.`
      process.stdout.write(`${text}\n\n`)
      if (values.write) replaceSection(RESULTS, `latency-${part}`, text)
    }
  } finally {
    lab.close()
  }
}

/** Two sites, a service without and one with a limit, and HAProxy with TLS beside them. */
async function set(lab: Lab, rounds: number): Promise<Stage> {
  const { wire, ...sites } = await badBenchSites(lab, 1)
  const { edgeA, edgeB, server } = sites
  const peers = await pairOn(sites)
  await addServerAddress(sites, LIMITED)
  for (const [address, flags] of [
    [MESH, []],
    [LIMITED, ['--bandwidth-limit', String(limitedMbps)]]
  ] as const) {
    await carry(peers, `${address}/32`, flags)
  }
  for (const address of [MESH, PLAIN, LIMITED]) await tcpServer(server, address, { echo: ECHO })
  await iperfServers(server, [LIMITED], BULK)
  await exit(edgeB, [{ port: PROXY.exit, to: { address: PLAIN, port: ECHO } }], true)
  await entry(edgeA, [{ port: PROXY.entry, to: { address: '10.9.0.2', port: PROXY.exit } }], true)
  const ways = [
    { name: 'arctic (Pegasus)', pids: [], path: { address: MESH, port: ECHO } },
    { name: 'direct TCP', pids: [], path: { address: PLAIN, port: ECHO } },
    { name: 'HAProxy, TLS 1.3', pids: [], path: { address: '10.1.0.1', port: PROXY.entry } }
  ]
  return { sites, wire, ways, rounds }
}

async function link({ sites, wire, ways, rounds }: Stage): Promise<string> {
  await wire.set({ delayMs: linkMs / 2 })
  try {
    // Between the edges: what the link itself takes, programs asleep and woken included.
    const columns: Column[] = [
      { title: 'connect + first byte, p50 ms', figure: 'p50', digits: 2 },
      { title: 'of a round trip', figure: 'part', digits: 3 }
    ]
    const results = await measured(ways, rounds, async ({ path }) => {
      const { rttMs } = await ping(sites.edgeA, EDGE_B.wire4, { count: 5 })
      const ms = await pingPong(sites.client, { ...path, count: newFlows, manner: 'new' })
      return { p50: quantile(ms, 0.5), part: quantile(ms, 0.5) / (rttMs ?? Number.NaN) }
    })
    return `## A new flow over a link of ${linkMs} ms\n\n${table(results, columns, 'direct TCP')}

A round trip is what ping says between the edges in the same round; ${newFlows} flows in each, one after the other.`
  } finally {
    await wire.mend()
  }
}

async function besideBulk({ sites, rounds }: Stage): Promise<string> {
  const thin = { address: LIMITED, port: ECHO }
  const quantumMs = 1
  const seconds = 5
  const contenders: Array<Contender<boolean>> = [
    { name: `beside ${manyFlows} flows of bulk`, pids: [], path: true },
    { name: 'alone', pids: [], path: false }
  ]
  const results = await inRounds(
    contenders,
    rounds,
    async ({ path: beside }): Promise<Figures> => {
      const target = { address: LIMITED, port: BULK }
      const load = beside ? bulk(sites.client, target, { flows: manyFlows, seconds, pids: [] }) : null
      await systemClock.sleep(1500)
      const ms = await pingPong(sites.client, { ...thin, count: 100, manner: 'same' })
      await load
      return { p50: quantile(ms, 0.5), p99: quantile(ms, 0.99) }
    },
    progress
  )
  return `## A thin flow beside bulk\n\n${table(results, LATENCY, 'alone')}

One service limited to ${limitedMbps} Mbit/s; the bulk goes up. A turn is ${quantumMs} ms of the rate, so twice the turns of all flows are ${2 * quantumMs * (manyFlows + 1)} ms.`
}

async function besideStrangers({ sites, ways, rounds }: Stage): Promise<string> {
  const { client, server } = sites
  const [mesh] = ways
  const kinds: Array<Contender<(() => Promise<unknown>) | null>> = [
    { name: 'nobody', pids: [], path: null },
    {
      name: `${halfOpenStrangers} that connect and say nothing`,
      pids: [],
      path: () => crowd(server, 'silent', halfOpenStrangers)
    },
    { name: `${loudStrangers} that drip a byte a second`, pids: [], path: () => crowd(server, 'slow', loudStrangers) },
    {
      name: `${loudStrangers} that shout 64 KiB of garbage`,
      pids: [],
      path: () => crowd(server, 'garbage', loudStrangers)
    }
  ]
  const results = await inRounds(
    kinds,
    rounds,
    async ({ path: come }): Promise<Figures> => {
      const there = come?.()
      await systemClock.sleep(come == null ? 0 : 3000)
      const ms = await pingPong(client, { ...mesh!.path, count: pings, manner: 'same' })
      await there
      return { p50: quantile(ms, 0.5), p99: quantile(ms, 0.99) }
    },
    progress
  )
  return `## Strangers at the data port\n\n${table(results, LATENCY, 'nobody')}

A byte there and back over an open flow, ${pings} in a row. The strangers are on the server's host, two programs with half of them each; making them costs this machine as well.`
}

/** From a host beside the target: as many as two programs can hold. */
async function crowd(host: Host, manner: 'silent' | 'slow' | 'garbage', count: number): Promise<void> {
  const half = { address: EDGE_B.lan4, port: 7947, manner, count: count / 2, holdMs: 12_000 }
  await Promise.all([stranger(host, half), stranger(host, half)])
}

const LATENCY: readonly Column[] = [
  { title: 'p50 ms', figure: 'p50', digits: 2 },
  { title: 'p99 ms', figure: 'p99', digits: 2 }
]

const progress = (text: string): void => void process.stderr.write(`${text}\n`)

const measured = (ways: Array<Contender<Way>>, rounds: number, measure: (way: Contender<Way>) => Promise<Figures>) =>
  inRounds(ways, rounds, measure, progress)

function quantile(values: readonly number[], q: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN
}

await main()
