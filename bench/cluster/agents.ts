import { spawn, spawnSync } from 'node:child_process'
import { askApi } from '../../lab/api.ts'
import { fiveHosts, type FiveHosts } from '../../lab/five.ts'
import { Lab } from '../../lab/lab.ts'
import { cluster, Peer } from '../../lab/peer.ts'
import { sleep, timed, until } from '../../lab/wait.ts'
import type { ClusterJson, RouteJson, ServiceJson } from '../../src/actors/operator/operator.ts'
import { cpuSeconds } from '../cpu.ts'
import type { Figures } from '../rounds.ts'
import { rssBytes } from './memory.ts'
import { quantile } from './system.ts'

/** How long an agent has nothing to do before it counts as idle, and how long its CPU time is counted, ms. */
const [REST_MS, IDLE_MS] = [10_000, 10_000]
/** Changes whose way into kernel and engines is timed, and writes on each side of a partition. */
const [CHANGES, WRITES] = [200, 100]
const patience = { timeoutMs: 60_000 }

/** Five real agents with kernel and engines, on hosts of the lab; each row of the table asks them for one thing. */
export class Agents {
  readonly #lab: Lab
  readonly #site: FiveHosts
  readonly #peers: readonly Peer[]

  private constructor(lab: Lab, site: FiveHosts, peers: readonly Peer[]) {
    this.#lab = lab
    this.#site = site
    this.#peers = peers
  }

  /** Starts the first agent, measures it alone if that is asked for, then the others, in one cluster with it. */
  static async start({ alone: isAsked }: { alone: boolean }): Promise<{ agents: Agents; alone: Figures | null }> {
    const lab = await Lab.create({ prefix: 'arctic-cluster-bench' })
    try {
      const site = await fiveHosts(lab)
      const peers = site.hosts.map((host) => new Peer(host, { flags: ['--log-level', 'warn'] }))
      const agents = new Agents(lab, site, peers)
      const [first, ...others] = peers
      await first!.start()
      await first!.ask('cluster', 'init', '--name', 'bench')
      const alone = isAsked ? await idle(first!) : null
      await first!.ask('cluster', 'leave', '--yes')
      for (const peer of others) await peer.start()
      await cluster(first!, ...others)
      return { agents, alone }
    } catch (error) {
      lab.close()
      throw error
    }
  }

  stop(): void {
    this.#lab.close()
  }

  idle(): Promise<Figures> {
    return idle(this.#peers[0]!)
  }

  /** Each change asked for with `?wait=`: answered when kernel and engines of both its ends have it. */
  async programmed(): Promise<Figures> {
    const [a, b] = [this.#peers[0]!, this.#peers[4]!]
    const service = await this.#create(a, b, 'programmed')
    const times: number[] = []
    for (let n = 0; n < CHANGES; n++) {
      const path = `/v1/services/${service.id}/routes`
      const { ms, result } = await timed(() =>
        askApi(a.socket, 'POST', `${path}?wait=20s`, { routes: [{ dest_cidr: `10.20.${n}.0/24` }] })
      )
      if (result.status !== 201) throw new Error(`adding a route answered ${result.status}`)
      times.push(ms)
      const [route] = result.body as RouteJson[]
      if (route?.status == null) throw new Error('the answer has no status')
    }
    return { p50: quantile(times, 0.5), p99: quantile(times, 0.99) }
  }

  /** Killed, and a change made meanwhile: from starting the program to its API showing that change. */
  async restart(): Promise<Figures> {
    const [a, b] = [this.#peers[0]!, this.#peers[4]!]
    await b.end('SIGKILL')
    const { id } = await this.#create(a, b, `restart-${Date.now()}`)
    const bare = spawnedMs()
    const { ms } = await timed(async () => {
      await b.launch()
      await until('the change to be there', async () => (await b.service(id)) != null, { ...patience, everyMs: 5 })
    })
    return { ms, bare }
  }

  /** Parted 2/3, written on both sides, joined again: from the wire being whole to all five showing the same heads. */
  async heal(): Promise<Figures> {
    const [left, right] = [this.#peers[0]!, this.#peers[3]!]
    await this.#site.part()
    const reaches = async (peer: Peer): Promise<number> =>
      (await peer.peers()).filter(({ reachable }) => reachable).length
    await until('the sides to miss each other', async () => (await reaches(left)) === 3, patience)
    await until('the sides to miss each other', async () => (await reaches(right)) === 2, patience)
    for (let n = 0; n < WRITES; n++) {
      await Promise.all([this.#create(left, this.#peers[1]!, `l${n}`), this.#create(right, this.#peers[4]!, `r${n}`)])
    }
    await this.#site.heal()
    const { ms } = await timed(() =>
      until(
        'all to agree',
        async () => {
          const heads = await Promise.all(this.#peers.map((peer) => headsOf(peer)))
          return heads.every((one) => one === heads[0])
        },
        patience
      )
    )
    // What was made is taken away, so that every round begins alike.
    const made = (await askApi(left.socket, 'GET', '/v1/services')).body as ServiceJson[]
    for (const { id, name } of made) {
      if (name != null && /^[lr]\d+$/.test(name)) await askApi(left.socket, 'DELETE', `/v1/services/${id}`)
    }
    return { ms }
  }

  async #create(by: Peer, target: Peer, name: string): Promise<ServiceJson> {
    const { status, body } = await askApi(by.socket, 'POST', '/v1/services', { name, target_peer_id: target.host.name })
    if (status !== 201) throw new Error(`creating ${name} answered ${status}: ${JSON.stringify(body)}`)
    return body as ServiceJson
  }
}

async function idle(peer: Peer): Promise<Figures> {
  await sleep(REST_MS)
  const before = cpuSeconds([peer.agent.pid])
  await sleep(IDLE_MS)
  const cpuPercent = ((cpuSeconds([peer.agent.pid]) - before) / IDLE_MS) * 1e5
  const bare = spawn(process.execPath, ['-e', 'setTimeout(() => {}, 1e6)'], { stdio: 'ignore' })
  try {
    await sleep(1_000)
    const [ours, theirs] = [rssBytes(peer.agent.pid) ?? Number.NaN, rssBytes(bare.pid ?? 0) ?? Number.NaN]
    return { megabytes: ours / 1e6, bare: theirs / 1e6, cpuPercent }
  } finally {
    bare.kill('SIGKILL')
  }
}

function spawnedMs(): number {
  const times = Array.from({ length: 5 }, () => {
    const begun = performance.now()
    spawnSync(process.execPath, ['-e', '0'], { stdio: 'ignore' })
    return performance.now() - begun
  })
  return quantile(times, 0.5)
}

async function headsOf(peer: Peer): Promise<string> {
  const { heads } = (await askApi(peer.socket, 'GET', '/v1/cluster')).body as ClusterJson
  return [...heads].sort().join()
}
