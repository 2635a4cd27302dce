/**
 * Memory over time: five real agents, kernel and engines included, under a stream of changes, while peers leave and come, are
 * killed and started again. `node bench/soak.ts [--minutes 30] [--rate 20]`; writes its section of RESULTS.md and a plot.
 *
 * The first agent and the fourth live through all of it. The second is killed every other minute, to the end, and back ten
 * seconds later; the fifth likewise, but in the first minutes only, so that the rest shows what becomes of one that was killed.
 * The third leaves the cluster and joins it anew, in one process.
 */
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { isoTime, systemClock } from '../src/clock.ts'
import type { ServiceJson } from '../src/actors/operator/operator.ts'
import { askApi } from '../lab/api.ts'
import { fiveHosts } from '../lab/five.ts'
import { Lab } from '../lab/lab.ts'
import { cluster, invite, Peer } from '../lab/peer.ts'
import { ensurePrivilege } from '../lab/privileges.ts'
import { sleep, until } from '../lab/wait.ts'
import { fit, rssBytes } from './cluster/memory.ts'
import {
  soakKillEveryMs,
  soakLeaveEveryMs,
  soakAwayMs,
  soakSampleMs,
  soakKillFifthMinutes,
  soakServices,
  soakSettledMinutes,
  soakSlopeMinutesMin
} from './limits.ts'
import { plot } from './plot.ts'
import { replaceSection } from './section.ts'

interface Sample {
  minutes: number
  megabytes: number
}

const HERE = fileURLToPath(new URL('.', import.meta.url))
const { values } = parseArgs({
  options: { minutes: { type: 'string', default: '30' }, rate: { type: 'string', default: '20' } }
})
const [minutes, rate] = [Number(values.minutes), Number(values.rate)]

/** A stream of changes through whichever agent is in the cluster: services come, change and go, some `soakServices` at a time. */
class Load {
  made = 0
  refused = 0
  /** From the oldest to the newest. */
  readonly #services: Array<{ id: string }> = []
  readonly #peers: readonly Peer[]
  /** Those that take part at the moment. */
  readonly present: Set<Peer>

  constructor(peers: readonly Peer[]) {
    this.#peers = peers
    this.present = new Set(peers)
  }

  async run(end: number): Promise<void> {
    const underWay = new Set<Promise<void>>()
    const begun = systemClock.monotonic()
    for (let n = 0; systemClock.monotonic() < end; n++) {
      const change = this.#change(n).finally(() => underWay.delete(change))
      underWay.add(change)
      await sleep(Math.max(0, begun + ((n + 1) * 1000) / rate - systemClock.monotonic()))
      if (underWay.size >= 200) await Promise.race(underWay)
    }
    await Promise.all(underWay)
  }

  async #change(n: number): Promise<void> {
    const present = this.#peers.filter((peer) => this.present.has(peer))
    const [by, target] = [present[n % present.length]!, present[(n + 1) % present.length]!]
    const ask = (method: string, path: string, body?: unknown): Promise<{ status: number; body: unknown }> =>
      askApi(by.socket, method, path, body).catch(() => ({ status: 0, body: null }))
    const took = ({ status }: { status: number }): boolean => {
      const good = status >= 200 && status < 300
      if (good) this.made += 1
      else this.refused += 1
      return good
    }
    const old = this.#services.length >= soakServices
    if (n % 4 !== 0 && this.#services[0] != null) {
      // Any of the older half: what is new may not have arrived everywhere.
      const { id } = this.#services[Math.floor((n * 7) % Math.ceil(this.#services.length / 2))]!
      took(await ask('PUT', `/v1/services/${id}`, { bandwidth_limit_mbps: n % 1000 }))
    } else if (old && n % 8 === 0) {
      const { id } = this.#services.shift()!
      took(await ask('DELETE', `/v1/services/${id}`))
    } else {
      const made = await ask('POST', '/v1/services', { name: `s${n}`, target_peer_id: target.host.name })
      if (!took(made)) return
      const { id } = made.body as ServiceJson
      const route = { dest_cidr: `10.${100 + ((n >> 8) % 100)}.${n & 255}.0/24` }
      took(await ask('POST', `/v1/services/${id}/routes`, { routes: [route] }))
      this.#services.push({ id })
    }
  }
}

async function main(): Promise<void> {
  ensurePrivilege()
  const lab = await Lab.create({ prefix: 'arctic-soak' })
  try {
    const { hosts } = await fiveHosts(lab)
    // The rest of the machine goes first, so that a soak can run beside other work.
    const peers = hosts.map(
      (host) => new Peer(host, { starter: () => ['nice', '-n', '5'], flags: ['--log-level', 'warn'] })
    )
    await Promise.all(peers.map((peer) => peer.start()))
    await cluster(peers[0]!, ...peers.slice(1))
    const samples = new Map(peers.map((peer) => [peer, [] as Sample[]]))
    const load = new Load(peers)
    const begun = systemClock.monotonic()
    const end = begun + minutes * 60_000
    const since = (): number => (systemClock.monotonic() - begun) / 60_000
    /** False when it did not come back. */
    const away = async (peer: Peer, go: () => Promise<unknown>, back: () => Promise<unknown>): Promise<boolean> => {
      load.present.delete(peer)
      try {
        await go()
        await sleep(soakAwayMs)
        await back()
        load.present.add(peer)
        return true
      } catch (error) {
        // It stays away, and the report says how many went and came.
        process.stderr.write(`${peer.host.name}: ${String(error)}\n`)
        return false
      }
    }
    const events = { kills: 0, departures: 0 }
    /** Of the process that runs now, minutes; of those that were started anew. */
    const starts = new Map<Peer, number>()
    const running = { on: true }
    const every = async (ms: number, work: (n: number) => Promise<void>): Promise<void> => {
      for (let n = 0; running.on; n++) {
        const next = systemClock.monotonic() + ms
        while (running.on && systemClock.monotonic() < next) await sleep(200)
        if (running.on) await work(n)
      }
    }
    const sampling = every(soakSampleMs, async () => {
      for (const [peer, list] of samples) {
        const rss = peer.agent.running ? rssBytes(peer.agent.pid) : null
        if (rss != null) list.push({ minutes: since(), megabytes: rss / 1e6 })
      }
      process.stderr.write(
        `${since().toFixed(1)} min  ${load.made} changes, ${load.refused} refused  ` +
          `${[...samples.values()].map((list) => list.at(-1)?.megabytes.toFixed(0) ?? '-').join(' ')} MB\n`
      )
    })
    const killing = every(soakKillEveryMs, async (n) => {
      if (n % 2 > 0 && since() > soakKillFifthMinutes) return
      const peer = peers[n % 2 === 0 ? 1 : 4]!
      const isBack = await away(
        peer,
        () => peer.end('SIGKILL'),
        () => started(peer)
      )
      starts.set(peer, since())
      if (isBack) events.kills += 1
    })
    const leaving = every(soakLeaveEveryMs, async () => {
      const peer = peers[2]!
      const isBack = await away(
        peer,
        () => left(peer),
        () => joined(peer, peers[0]!)
      )
      if (isBack) events.departures += 1
    })
    await load.run(end)
    running.on = false
    await Promise.all([sampling, killing, leaving])
    report(peers, samples, { load, events, starts })
  } finally {
    lab.close()
  }
}

/** On a machine that is busy with other work, too. */
async function started(peer: Peer): Promise<void> {
  await peer.launch()
  await until('the agent to answer', async () => (await askApi(peer.socket, 'GET', '/healthz')).status === 200, {
    timeoutMs: 120_000,
    everyMs: 200
  })
}

/** Again until it is out: on a busy machine a departure can take longer than a command may. */
async function left(peer: Peer): Promise<void> {
  await until(
    `${peer.host.name} to be in no cluster`,
    async () => {
      if ((await peer.status()).cluster == null) return true
      await peer.cli('cluster', 'leave', '--yes')
      return false
    },
    { timeoutMs: 120_000, everyMs: 1_000 }
  )
}

/** Again until it is in: on a busy machine a join can take longer than a command may. */
async function joined(peer: Peer, by: Peer): Promise<void> {
  await until(
    `${peer.host.name} to be in the cluster again`,
    async () => {
      if ((await peer.status()).cluster != null) return true
      await peer.cli('cluster', 'join', await invite(by))
      return false
    },
    { timeoutMs: 300_000, everyMs: 1_000 }
  )
}

const ROLE = ['', ', killed to the end', ', left and joined', '', ', killed at first']

function report(
  peers: readonly Peer[],
  samples: ReadonlyMap<Peer, Sample[]>,
  run: { load: Load; events: { kills: number; departures: number }; starts: ReadonlyMap<Peer, number> }
): void {
  const { load, events, starts } = run
  const marks = [1, 5, 10, 15, 20, 25, 30].filter((mark) => mark <= minutes)
  const rows = peers.map((peer, i) => {
    const list = samples.get(peer) ?? []
    const at = (mark: number): string => {
      const near = list.filter((sample) => Math.abs(sample.minutes - mark) < 0.5)
      return near.length === 0
        ? '–'
        : (near.reduce((sum, { megabytes }) => sum + megabytes, 0) / near.length).toFixed(0)
    }
    const settledAt = (starts.get(peer) ?? 0) + soakSettledMinutes
    const settled = list.filter((sample) => sample.minutes >= settledAt)
    const points = settled.map((sample) => [sample.minutes, sample.megabytes] as const)
    const slope = minutes - settledAt >= soakSlopeMinutesMin && points.length > 2 ? fit(points).slope : null
    const mean = points.reduce((sum, [, megabytes]) => sum + megabytes, 0) / points.length
    const slopes = slope == null ? '– | –' : `${slope.toFixed(2)} | ${((slope / mean) * 100).toFixed(2)} %`
    return `| ${peer.host.name}${ROLE[i]} | ${marks.map(at).join(' | ')} | ${slopes} |`
  })
  const text = `## Soak

Made by \`node bench/soak.ts --minutes ${minutes} --rate ${rate}\` on ${isoTime(systemClock.now()).slice(0, 10)}: five agents with
kernel and engines on hosts of the lab, ${load.made} changes (${(load.made / minutes / 60).toFixed(1)} a second, ${load.refused} refused or
unanswered), ${events.kills} kills with a start after ${soakAwayMs / 1000} s, ${events.departures} departures with a join after as long.
Resident memory of each agent's process, MB, at a minute (mean of the samples around it); slope: MB a minute by least squares, and its
share of the mean, once a process has run for ${soakSettledMinutes} minutes, of those that ran on for ${soakSlopeMinutesMin} at least.

| agent | ${marks.map((mark) => `min ${mark}`).join(' | ')} | slope MB/min | of the mean |
| --- | ${marks.map(() => '---:').join(' | ')} | ---: | ---: |
${rows.join('\n')}

![Memory over time](plots/soak.svg)
`
  process.stdout.write(text)
  const series = peers.map((peer, i) => ({
    name: `${peer.host.name}${ROLE[i]}`,
    points: (samples.get(peer) ?? []).map((sample) => [sample.minutes, sample.megabytes] as const)
  }))
  writeFileSync(`${HERE}plots/soak.svg`, plot(series, { x: 'minutes', y: 'MB resident', scale: 'linear' }))
  replaceSection(`${HERE}RESULTS.md`, 'soak', text)
}

await main()
