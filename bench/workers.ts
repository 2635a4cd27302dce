/**
 * Whether a second worker gets in the way of the first: `node bench/workers.ts [--rounds 3] [--seconds 4] [--write]`
 *
 * Two pairs of sites. On one the engines may use only the first core, so that each has one worker; on the other they may use
 * both. The load generators are on the second core either way, which on a machine of two is the one that the second workers
 * want as well: so what counts is not what is carried in all but what one second of CPU carries.
 */
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { isoTime, systemClock } from '../src/clock.ts'
import { Lab } from '../lab/lab.ts'
import { ensurePrivilege } from '../lab/privileges.ts'
import { cpuModel } from './cpu.ts'
import { manyFlows, roundsDefault, secondsDefault } from './limits.ts'
import { bulk, iperfServers, type Target } from './load.ts'
import { carry, pairOn } from './pair.ts'
import { table, type Column } from './report.ts'
import { inRounds, type Contender, type Figures } from './rounds.ts'
import { replaceSection } from './section.ts'
import { enginePid } from './tcp.ts'
import { benchSites, MESH } from './topology.ts'
import type { Host } from '../lab/host.ts'

const PORT = 5201
const CORES = { engines: '0', load: '1' }
const RESULTS = fileURLToPath(new URL('./RESULTS.md', import.meta.url))
const COLUMNS: readonly Column[] = [
  { title: `Gbit/s, ${manyFlows} flows`, figure: 'gbps', digits: 2 },
  { title: 'cores busy with it', figure: 'cores', digits: 2 },
  { title: 'Gbit per CPU-second', figure: 'perCpu', digits: 2 },
  { title: 'back: Gbit/s', figure: 'gbpsBack', digits: 2 },
  { title: 'cores busy with it', figure: 'coresBack', digits: 2 },
  { title: 'Gbit per CPU-second', figure: 'perCpuBack', digits: 2 }
]

interface Path {
  client: Host
  target: Target
}

const { values } = parseArgs({
  options: { rounds: { type: 'string' }, seconds: { type: 'string' }, write: { type: 'boolean', default: false } }
})
const rounds = Number(values.rounds ?? roundsDefault)
const seconds = Number(values.seconds ?? secondsDefault)
ensurePrivilege()
const labs: Lab[] = []
try {
  const contenders: Array<Contender<Path>> = []
  for (const [name, cores] of [
    ['1 worker', CORES.engines],
    ['2 workers', '0,1']
  ] as const) {
    const lab = await Lab.create({ prefix: 'arctic-workers' })
    labs.push(lab)
    const sites = await benchSites(lab)
    const starter = (): string[] => ['taskset', '--cpu-list', cores]
    const peers = await pairOn(sites, { starter })
    await carry(peers)
    await iperfServers(sites.server, [MESH], PORT, CORES.load)
    const pids = await Promise.all(peers.map((peer) => enginePid(peer, 'pegasus')))
    contenders.push({ name, pids, path: { client: sites.client, target: { address: MESH, port: PORT } } })
  }
  const progress = (text: string): void => void process.stderr.write(`${text}\n`)
  const measure = async ({ path: { client, target }, pids }: Contender<Path>): Promise<Figures> => {
    const load = { flows: manyFlows, seconds, pids, cores: CORES.load }
    const there = await bulk(client, target, load)
    const back = await bulk(client, target, { ...load, reverse: true })
    const cores = ({ gbps, cpuPerGb }: typeof there): number => (gbps / 8) * cpuPerGb
    return {
      gbps: there.gbps,
      cores: cores(there),
      perCpu: 8 / there.cpuPerGb,
      gbpsBack: back.gbps,
      coresBack: cores(back),
      perCpuBack: 8 / back.cpuPerGb
    }
  }
  const results = await inRounds(contenders, rounds, measure, progress)
  const text = `## One worker and two

${table(results, COLUMNS, '1 worker')}

Both engines of a pair together. With one worker they have the first of two cores (${cpuModel()}), with two both; the load generators
have the second either way. Scaling is linear as far as a CPU-second carries the same.

Made by \`node bench/workers.ts --rounds ${rounds} --seconds ${seconds}\` on ${isoTime(systemClock.now()).slice(0, 10)}; medians, interleaved.`
  process.stdout.write(`${text}\n`)
  if (values.write) replaceSection(RESULTS, 'workers', text)
} finally {
  for (const lab of labs) lab.close()
}
