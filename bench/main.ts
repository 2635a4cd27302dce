/**
 * `npm run bench`: what the mesh carries beside what others carry, in the same run on the same hosts.
 *
 *   npm run bench                        everything; prints the tables and writes bench/RESULTS.md
 *   npm run bench -- --only tcp|ip       one half of it, prints only
 *   npm run bench -- --rounds 5 --seconds 10
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { isoTime, systemClock } from '../src/clock.ts'
import { available } from '../lab/command.ts'
import { Lab } from '../lab/lab.ts'
import { ensurePrivilege } from '../lab/privileges.ts'
import { measureIp } from './ip.ts'
import { roundsDefault, secondsDefault } from './limits.ts'
import { carry, pairOn } from './pair.ts'
import { circumstances, IP_COLUMNS, table, TCP_COLUMNS } from './report.ts'
import { namedSections } from './section.ts'
import { measureTcp } from './tcp.ts'
import { benchSites } from './topology.ts'

const PROGRAMS = {
  iperf3: 'iperf3',
  wrk: 'wrk',
  haproxy: 'haproxy',
  wg: 'wireguard-tools',
  openssl: 'openssl',
  nginx: 'nginx-light',
  stunnel4: 'stunnel4'
}
const RESULTS = fileURLToPath(new URL('./RESULTS.md', import.meta.url))

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { only: { type: 'string' }, rounds: { type: 'string' }, seconds: { type: 'string' } }
  })
  const rounds = Number(values.rounds ?? roundsDefault)
  const seconds = Number(values.seconds ?? secondsDefault)
  ensurePrivilege()
  const missing = Object.entries(PROGRAMS).filter(([program]) => !available(program))
  if (missing.length > 0) {
    throw new Error(
      `missing programs; install them with "apt-get install ${missing.map(([, name]) => name).join(' ')}"`
    )
  }

  const lab = await Lab.create({ prefix: 'arctic-bench' })
  try {
    const sites = await benchSites(lab)
    // The exit's dial-outs and the carriers are what is measured, not somebody's log on a disk.
    const peers = await pairOn(sites)
    await carry(peers)

    const options = { rounds, seconds, progress: (text: string): void => void process.stderr.write(`${text}\n`) }
    const parts: string[] = []
    if (values.only !== 'ip') {
      const results = await measureTcp(sites, peers, options)
      parts.push(`## TCP\n\n${table(results, TCP_COLUMNS, 'HAProxy, TLS 1.3')}\n\n${TCP_NOTE}`)
    }
    if (values.only !== 'tcp') {
      const results = await measureIp(sites, peers, options)
      const reference = results.find(({ name }) => name.endsWith('from source'))?.name ?? results.at(-2)?.name ?? ''
      parts.push(`## IP tunnels\n\n${table(results, IP_COLUMNS, reference)}\n\n${IP_NOTE}`)
    }
    const command = ['npm run bench', ...(process.argv.length > 2 ? ['--', ...process.argv.slice(2)] : [])].join(' ')
    const date = isoTime(systemClock.now()).slice(0, 10)
    const about = await circumstances(sites.client, { command, rounds, seconds, date })
    const text = `# Results\n\n${about}\n\n${parts.join('\n\n')}\n`
    process.stdout.write(text)
    // What other programs have measured stays.
    const others = namedSections(readFileSync(RESULTS, 'utf8'))
    if (values.only == null) writeFileSync(RESULTS, [text, ...others].join('\n'))
  } finally {
    lab.close()
  }
}

const TCP_NOTE =
  'Client → edge-a → edge-b → server. In brackets: times the figure of HAProxy with TLS. The client of the mesh is ' +
  "untouched and its connections are intercepted; HAProxy's client connects to edge-a by name."
const IP_NOTE =
  'In the mesh TCP is carried by Pegasus, so "Tempest alone" is two engines without agents, told by hand over their ' +
  'control sockets, between the same hosts. In brackets: times the figure of the newest wireguard-go.'

try {
  await main()
} catch (error) {
  process.stderr.write(`error: ${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = 1
}
