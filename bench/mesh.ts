import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { HostProcess, type Usage } from '../test/mesh/host-process.ts'

/**
 * How fast a write is seen everywhere, and what a control plane costs that does nothing: N processes of the real thing
 * (identity, replica with fdatasync, libp2p over loopback TCP) on this machine. Prints one JSON object.
 *
 *   node bench/mesh.ts [--peers 5] [--writes 200] [--every-ms 50] [--idle-s 10]
 */
const { values } = parseArgs({
  options: {
    peers: { type: 'string', default: '5' },
    writes: { type: 'string', default: '200' },
    'every-ms': { type: 'string', default: '50' },
    'idle-s': { type: 'string', default: '10' }
  }
})
const [peers, writes, everyMs, idleS] = [values.peers, values.writes, values['every-ms'], values['idle-s']].map(Number)

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
const root = await mkdtemp(join(tmpdir(), 'arctic-bench-'))
const hosts: HostProcess[] = []
try {
  for (let i = 0; i < peers!; i++) hosts.push(await HostProcess.start(root, `peer-${i}`))
  await hosts[0]!.ask({ run: 'init' })
  const token = await hosts[0]!.ask<string>({ run: 'invite' })
  const begun = performance.now()
  for (const host of hosts.slice(1)) await host.ask({ run: 'join', token })
  const joinMs = (performance.now() - begun) / (peers! - 1)
  await sleep(3_000)
  const idle = await idleCost()
  const propagation = await propagationMs()
  console.log(
    JSON.stringify({
      peers,
      writes,
      join_ms: round(joinMs),
      seen_on_one_other_ms: quantiles(propagation.each),
      seen_on_all_ms: quantiles(propagation.last),
      lost: propagation.lost,
      idle_rss_mb: round(Math.max(...idle.map(({ rssBytes }) => rssBytes)) / 2 ** 20),
      idle_cpu_percent: round(Math.max(...idle.map(({ cpuMicroseconds }) => cpuMicroseconds / 1e4 / idleS!)))
    })
  )
} finally {
  await Promise.all(hosts.map((host) => host.kill()))
  await rm(root, { recursive: true, force: true })
}

async function idleCost(): Promise<Usage[]> {
  const usage = (): Promise<Usage[]> => Promise.all(hosts.map((host) => host.ask<Usage>({ run: 'usage' })))
  const before = await usage()
  await sleep(idleS! * 1_000)
  const after = await usage()
  return after.map(({ rssBytes, cpuMicroseconds }, i) => ({
    rssBytes,
    cpuMicroseconds: cpuMicroseconds - before[i]!.cpuMicroseconds
  }))
}

/** From before the write (sign, fdatasync) to the service being in the view elsewhere, by the one clock of this machine. */
async function propagationMs(): Promise<{ each: number[]; last: number[]; lost: number }> {
  const written: Array<{ id: string; begun: number }> = []
  for (let i = 0; i < writes!; i++) {
    const [author, target] = [hosts[i % peers!]!, hosts[(i + 1) % peers!]!]
    written.push(await author.ask<{ id: string; begun: number }>({ run: 'write', target: target.id }))
    await sleep(everyMs!)
  }
  await sleep(6_000)
  const seen = await Promise.all(hosts.map((host) => host.ask<Record<string, number>>({ run: 'seen' })))
  const each: number[] = []
  const last: number[] = []
  let lost = 0
  for (const [i, { id, begun }] of written.entries()) {
    const others = seen.filter((_, host) => host !== i % peers!).map((times) => times[id])
    const delays = others.filter((at) => at != null).map((at) => at - begun)
    lost += others.length - delays.length
    each.push(...delays)
    if (delays.length > 0) last.push(Math.max(...delays))
  }
  return { each, last, lost }
}

function quantiles(samples: number[]): Record<'p50' | 'p99' | 'max', number> {
  const sorted = samples.toSorted((a, b) => a - b)
  const at = (q: number): number => round(sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? NaN)
  return { p50: at(0.5), p99: at(0.99), max: at(1) }
}

function round(value: number): number {
  return Math.round(value * 10) / 10
}
