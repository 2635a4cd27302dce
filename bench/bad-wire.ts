/**
 * One TCP flow over a wire that loses, delays and reorders: `node bench/bad-wire.ts [--rounds 3] [--seconds 4] [--seed 1] [--write]`
 *
 * Client → edge-a ══ bad wire ══ edge-b → server, everything in one run, in turn, medians. `--write` puts the table into
 * bench/RESULTS.md. Takes some four minutes.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { isoTime, systemClock } from '../src/clock.ts'
import { NOTORIOUS, type BadWire, type Conditions } from '../lab/bad-wire.ts'
import { Lab } from '../lab/lab.ts'
import { cluster, Peer } from '../lab/peer.ts'
import { ensurePrivilege } from '../lab/privileges.ts'
import type { TwoSites } from '../lab/topology.ts'
import { until } from '../lab/wait.ts'
import { cpuModel } from './cpu.ts'
import { bulk, iperfServers } from './load.ts'
import { table, type Column } from './report.ts'
import { inRounds, type Contender, type Figures } from './rounds.ts'
import { replaceSection } from './section.ts'
import { addServerAddress, badBenchSites, MESH, PLAIN, wireguardAddress } from './topology.ts'
import { wireguards, wireguardTunnel } from './wireguard.ts'

interface Path {
  address: string
  /** The client's; where a proxy or the mesh carries the flow it does not reach the wire. */
  congestion?: string
  /** Of KCP; null where it makes no difference. */
  control: 'on' | 'off' | null
}

const PORT = 5201
const OVER_TCP = '10.2.0.9'
const RESULTS = fileURLToPath(new URL('./RESULTS.md', import.meta.url))
const WIRES: Record<'netem' | 'queue', Conditions> = { netem: NOTORIOUS, queue: { ...NOTORIOUS, ordered: true } }
const COLUMNS: readonly Column[] = [
  { title: 'Mbit/s', figure: 'netem', digits: 1 },
  { title: 'Mbit/s, jitter keeps the order', figure: 'queue', digits: 1 }
]

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string', default: '3' },
      seconds: { type: 'string', default: '4' },
      seed: { type: 'string', default: '1' },
      write: { type: 'boolean', default: false }
    }
  })
  const [rounds, seconds, seed] = [values.rounds, values.seconds, values.seed].map(Number) as [number, number, number]
  ensurePrivilege()
  const lab = await Lab.create({ prefix: 'arctic-badwire' })
  try {
    const { wire, ...sites } = await badBenchSites(lab, seed)
    const mesh = await Mesh.over(sites)
    const contenders: Array<Contender<Path>> = [
      { name: 'arctic over KCP', pids: [], path: { address: MESH, control: 'on' } },
      { name: 'arctic over KCP, congestion control off', pids: [], path: { address: MESH, control: 'off' } },
      { name: 'arctic over TCP (reno)', pids: [], path: { address: OVER_TCP, control: null } },
      ...['cubic', 'bbr', 'reno'].map((congestion) => ({
        name: `raw TCP, ${congestion}`,
        pids: [],
        path: { address: PLAIN, congestion, control: null }
      })),
      ...(await throughWireguard(sites))
    ]
    await iperfServers(sites.server, [...new Set(contenders.map(({ path }) => path.address))], PORT)
    const progress = (text: string): void => void process.stderr.write(`${text}\n`)
    const measure = async ({ path }: Contender<Path>): Promise<Figures> => {
      await mesh.control(path.control)
      const figures: Figures = {}
      for (const [name, conditions] of Object.entries(WIRES)) {
        figures[name] = await over(wire, conditions, async () => {
          const target = { address: path.address, port: PORT }
          const { gbps } = await bulk(sites.client, target, { ...path, flows: 1, seconds, pids: [] })
          return gbps * 1000
        })
      }
      progress(JSON.stringify(figures))
      return figures
    }
    const results = await inRounds(contenders, rounds, measure, progress)
    const command = `node bench/bad-wire.ts --rounds ${rounds} --seconds ${seconds} --seed ${seed}`
    const text = `## A bad wire

Made by \`${command}\` on ${isoTime(systemClock.now()).slice(0, 10)}, ${cpuModel()}: one flow, client → server, over a wire that both ways loses 1 % of
the frames, lets 2.5 % overtake, and delays by 4 ms ± 7 ms; medians of ${rounds} rounds of ${seconds} s, interleaved. In brackets: times the
figure of raw TCP with bbr. As netem does it jitter lets frames overtake each other; in the last column the wire keeps them
in order but for the 2.5 %.

${table(results, COLUMNS, 'raw TCP, bbr')}

Congestion control is the client's where nothing ends its connection (raw, WireGuard), and set by the socket.`
    process.stdout.write(`${text}\n`)
    if (values.write) replaceSection(RESULTS, 'bad-wire', text)
  } finally {
    lab.close()
  }
}

/** The wire is bad only while `work` runs: what prepares it has a good one. */
async function over<T>(wire: BadWire, conditions: Conditions, work: () => Promise<T>): Promise<T> {
  await wire.set(conditions)
  try {
    return await work()
  } finally {
    await wire.mend()
  }
}

async function throughWireguard(sites: TwoSites): Promise<Array<Contender<Path>>> {
  const go = (await wireguards((text) => void process.stderr.write(`${text}\n`))).at(-1)
  if (go == null) return []
  const address = wireguardAddress(0)
  await addServerAddress(sites, address)
  await wireguardTunnel(sites, go, { device: 'wg0', port: 51_820, address })
  return ['cubic', 'bbr'].map((congestion) => ({
    name: `${go.name}, ${congestion} inside`,
    pids: [],
    path: { address, congestion, control: null }
  }))
}

/** Two agents with a service over KCP and one over TCP; the source's congestion control of KCP can be changed. */
class Mesh {
  readonly #sites: TwoSites
  readonly #services: string[] = []
  #source: Peer
  #control: 'on' | 'off' = 'on'

  private constructor(sites: TwoSites) {
    this.#sites = sites
    this.#source = this.#agent('on')
  }

  static async over(sites: TwoSites): Promise<Mesh> {
    const mesh = new Mesh(sites)
    const target = new Peer(sites.edgeB)
    await Promise.all([mesh.#source.start(), target.start()])
    await cluster(mesh.#source, target)
    await addServerAddress(sites, OVER_TCP)
    for (const [address, transport] of [
      [MESH, 'kcp'],
      [OVER_TCP, 'tcp']
    ] as const) {
      const routes = [['--dest-cidr', `${address}/32`]]
      const flags = ['--transport', transport]
      const service = await mesh.#source.connect({ source: 'edge-a', target: 'edge-b', routes, flags })
      mesh.#services.push(service.id)
      await Promise.all([mesh.#source, target].map((peer) => peer.active(service.id)))
    }
    return mesh
  }

  /** Restarts the source's agent with another setting; its engine goes on, and is told. */
  async control(wanted: 'on' | 'off' | null): Promise<void> {
    if (wanted == null || wanted === this.#control) return
    await this.#source.end('SIGUSR2')
    this.#source = await this.#agent(wanted).start()
    this.#control = wanted
    for (const id of this.#services) await this.#source.active(id)
    // What the engine was last told.
    const told = join(this.#source.stateDir, 'pegasus', 'config.json')
    const isTold = (): boolean => readFileSync(told, 'utf8').includes('kcp_congestion_control') === (wanted === 'off')
    await until('the engine to be told', isTold, { timeoutMs: 10_000 })
  }

  #agent(control: 'on' | 'off'): Peer {
    return new Peer(this.#sites.edgeA, { flags: ['--kcp-congestion-control', control] })
  }
}

await main()
