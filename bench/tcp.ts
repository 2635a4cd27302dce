import type { Peer } from '../lab/peer.ts'
import type { TwoSites } from '../lab/topology.ts'
import type { Host } from '../lab/host.ts'
import type { Task } from '../lab/task.ts'
import { withChildren } from './cpu.ts'
import { answerer, entry, exit } from './haproxy.ts'
import { manyFlows } from './limits.ts'
import { bulk, iperfServers, type Target } from './load.ts'
import { inRounds, type Contender, type Figures, type Result } from './rounds.ts'
import { nginxEntry, nginxExit } from './nginx.ts'
import type { Listen } from './proxy.ts'
import { stunnelEntry, stunnelExit } from './stunnel.ts'
import { MESH, PLAIN } from './topology.ts'

/** The same server for everybody: where a contender's bulk flows and its requests go in, who sends them, who answers requests. */
export interface Path {
  client: Host
  server: Task
  bulk: Target
  requests: Target
}

const IPERF = 5201
const HTTP = 8080

/** Client → edge-a → edge-b → server, TCP: what the entry and the exit cost and let through. */
export async function measureTcp(
  sites: TwoSites,
  peers: readonly Peer[],
  { rounds, seconds, progress }: { rounds: number; seconds: number; progress: (text: string) => void }
): Promise<Result[]> {
  const server = await serve(sites)
  const contenders = [
    await mesh('arctic (Pegasus)', sites, server, peers),
    await haproxy(sites, server),
    ...(await others(sites, server))
  ]
  return await inRounds(contenders, rounds, (contender) => carriedBy(contender, seconds), progress)
}

/** What all contenders' clients talk to; answers the process that answers requests. */
export async function serve({ server }: TwoSites): Promise<Task> {
  await iperfServers(server, [MESH, PLAIN], IPERF)
  return await answerer(server, [MESH, PLAIN], HTTP)
}

/** What is carried in other ways than by the mesh and HAProxy with TLS, and not at all. */
export const others = async (sites: TwoSites, server: Task): Promise<Array<Contender<Path>>> => [
  await proxies(sites, server, 'nginx stream, TLS 1.3', 8000, { entry: nginxEntry, exit: nginxExit }),
  await proxies(sites, server, 'stunnel, TLS 1.3', 9000, { entry: stunnelEntry, exit: stunnelExit }),
  await proxies(sites, server, 'HAProxy, in the clear', 7000, {
    entry: (host, listens) => entry(host, listens, false),
    exit: (host, listens) => exit(host, listens, false)
  }),
  plainRouting(sites, server)
]

export const plainRouting = ({ client }: TwoSites, server: Task): Contender<Path> => ({
  name: 'plain routing',
  pids: [],
  path: { client, server, bulk: { address: PLAIN, port: IPERF }, requests: { address: PLAIN, port: HTTP } }
})

/** The figures of {@link TCP_COLUMNS}, one load after the other, each `seconds` long. */
export async function carriedBy({ path, pids }: Contender<Path>, seconds: number): Promise<Figures> {
  const { client } = path
  const one = await bulk(client, path.bulk, { flows: 1, seconds, pids })
  const many = await bulk(client, path.bulk, { flows: manyFlows, seconds, pids })
  const oneBack = await bulk(client, path.bulk, { flows: 1, seconds, pids, reverse: true })
  const manyBack = await bulk(client, path.bulk, { flows: manyFlows, seconds, pids, reverse: true })
  return {
    gbps1: one.gbps,
    gbps8: many.gbps,
    gbps1Back: oneBack.gbps,
    gbps8Back: manyBack.gbps,
    cpuPerGb: one.cpuPerGb
  }
}

/** Pegasus' processes on both edges; the agents move no byte. */
export async function mesh(
  name: string,
  { client }: TwoSites,
  server: Task,
  peers: readonly Peer[]
): Promise<Contender<Path>> {
  const pids = await Promise.all(peers.map((peer) => enginePid(peer, 'pegasus')))
  const path = { client, server, bulk: { address: MESH, port: IPERF }, requests: { address: MESH, port: HTTP } }
  return { name, pids, besides: peers.map(({ agent }) => agent.pid), path }
}

export const haproxy = (sites: TwoSites, server: Task): Promise<Contender<Path>> =>
  proxies(sites, server, 'HAProxy, TLS 1.3', 6000, {
    entry: (host, listens) => entry(host, listens, true),
    exit: (host, listens) => exit(host, listens, true)
  })

export async function enginePid(peer: Peer, engine: string): Promise<number> {
  const { dataplane } = await peer.status()
  const pid = dataplane.engines.find((one) => one.engine === engine)?.pid
  if (pid == null) throw new Error(`no ${engine} on ${peer.host.name}`)
  return pid
}

/** Two proxies of one kind, an entry on edge-a and an exit on edge-b; `base` is where their ports begin. */
async function proxies(
  sites: TwoSites,
  server: Task,
  name: string,
  base: number,
  kind: Record<'entry' | 'exit', (host: Host, listens: readonly Listen[]) => Promise<Task>>
): Promise<Contender<Path>> {
  const ports = { bulk: base + 1, requests: base + 2 }
  const out = await kind.exit(sites.edgeB, [
    { port: ports.bulk, to: { address: PLAIN, port: IPERF } },
    { port: ports.requests, to: { address: PLAIN, port: HTTP } }
  ])
  const into = await kind.entry(
    sites.edgeA,
    [ports.bulk, ports.requests].map((port) => ({ port, to: { address: '10.9.0.2', port } }))
  )
  const target = (port: number): Target => ({ address: '10.1.0.1', port })
  const pids = withChildren([into.pid, out.pid])
  const path = { client: sites.client, server, bulk: target(ports.bulk), requests: target(ports.requests) }
  return { name, pids, path }
}
