/**
 * Whether a change made Pegasus slower: several builds of the engines beside HAProxy with TLS, in one run, interleaved.
 *
 *   node bench/builds.ts [--rounds 5] [--seconds 2] [--small] DIR ...
 *
 * Bulk flows; with `--small` short connections and ping-pong instead, as `bench/short.ts` takes them.
 * Each DIR holds `pegasus` and `tempest` of one build, as `engines/target/release` does. Every build has hosts of its own,
 * which are alike. Prints only.
 */
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { Lab } from '../lab/lab.ts'
import { ensurePrivilege } from '../lab/privileges.ts'
import { roundsDefault, secondsDefault } from './limits.ts'
import { carry, pairOn } from './pair.ts'
import { table, TCP_COLUMNS } from './report.ts'
import { inRounds, type Contender } from './rounds.ts'
import { SMALL_COLUMNS, smallLoads } from './small.ts'
import { carriedBy, haproxy, mesh, serve, type Path } from './tcp.ts'
import { benchSites } from './topology.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { rounds: { type: 'string' }, seconds: { type: 'string' }, small: { type: 'boolean', default: false } }
})
if (positionals.length === 0) throw new Error('name at least one directory with built engines')
ensurePrivilege()
const labs: Lab[] = []
try {
  const contenders: Array<Contender<Path>> = []
  for (const directory of positionals) {
    const lab = await Lab.create({ prefix: 'arctic-builds' })
    labs.push(lab)
    const sites = await benchSites(lab)
    const env = { ARCTIC_ENGINES: resolve(directory) }
    const peers = await pairOn(sites, { env })
    await carry(peers)
    const server = await serve(sites)
    if (contenders.length === 0) contenders.push(await haproxy(sites, server))
    contenders.push(await mesh(directory, sites, server, peers))
  }
  const rounds = Number(values.rounds ?? roundsDefault)
  const seconds = Number(values.seconds ?? secondsDefault)
  const progress = (text: string): void => void process.stderr.write(`${text}\n`)
  const [measure, columns] = values.small ? [smallLoads, SMALL_COLUMNS] : [carriedBy, TCP_COLUMNS]
  const results = await inRounds(contenders, rounds, (contender) => measure(contender, seconds), progress)
  process.stdout.write(`${table(results, columns, 'HAProxy, TLS 1.3')}\n`)
} finally {
  for (const lab of labs) lab.close()
}
