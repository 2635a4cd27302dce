import type { Peer } from '../lab/peer.ts'
import type { TwoSites } from '../lab/topology.ts'
import type { Host } from '../lab/host.ts'
import type { Task } from '../lab/task.ts'
import { withChildren } from './cpu.ts'
import { answerer, entry, exit } from './haproxy.ts'
import { manyFlows, shortConnections } from './limits.ts'
import { bulk, iperfServers, requests, type Target } from './load.ts'
import { inRounds, type Contender, type Figures, type Result } from './rounds.ts'
import { nginxEntry, nginxExit } from './nginx.ts'
import type { Listen } from './proxy.ts'
import { stunnelEntry, stunnelExit } from './stunnel.ts'
import { MESH, PLAIN } from './topology.ts'

/** The same server for everybody: where a contender's bulk flows and its requests go in, and who sends them. */
export interface Path {
  client: Host
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
  await serve(sites)
  const contenders: Array<Contender<Path>> = [
    await mesh('arctic (Pegasus)', sites, peers),
    await haproxy(sites),
    await proxies(sites, 'nginx stream, TLS 1.3', 8000, { entry: nginxEntry, exit: nginxExit }),
    await proxies(sites, 'stunnel, TLS 1.3', 9000, { entry: stunnelEntry, exit: stunnelExit }),
    await proxies(sites, 'HAProxy, in the clear', 7000, {
      entry: (host, listens) => entry(host, listens, false),
      exit: (host, listens) => exit(host, listens, false)
    }),
    {
      name: 'plain routing',
      pids: [],
      path: {
        client: sites.client,
        bulk: { address: PLAIN, port: IPERF },
        requests: { address: PLAIN, port: HTTP }
      }
    }
  ]
  return await inRounds(contenders, rounds, (contender) => carriedBy(contender, seconds), progress)
}

/** What all contenders' clients talk to. */
export async function serve({ server }: TwoSites): Promise<void> {
  await iperfServers(server, [MESH, PLAIN], IPERF)
  await answerer(server, [MESH, PLAIN], HTTP)
}

/** The figures of {@link TCP_COLUMNS}, one load after the other, each `seconds` long. */
export async function carriedBy({ path, pids }: Contender<Path>, seconds: number): Promise<Figures> {
  const { client } = path
  const one = await bulk(client, path.bulk, { flows: 1, seconds, pids })
  const many = await bulk(client, path.bulk, { flows: manyFlows, seconds, pids })
  const oneBack = await bulk(client, path.bulk, { flows: 1, seconds, pids, reverse: true })
  const manyBack = await bulk(client, path.bulk, { flows: manyFlows, seconds, pids, reverse: true })
  const short = await requests(client, path.requests, { connections: shortConnections, seconds, close: true })
  const pingPong = await requests(client, path.requests, { connections: 1, seconds, close: false })
  return {
    gbps1: one.gbps,
    gbps8: many.gbps,
    gbps1Back: oneBack.gbps,
    gbps8Back: manyBack.gbps,
    cpuPerGb: one.cpuPerGb,
    connections: short.perSecond,
    p50: pingPong.p50,
    p99: pingPong.p99
  }
}

/** Pegasus' processes on both edges; the agents move no byte. */
export async function mesh(name: string, { client }: TwoSites, peers: readonly Peer[]): Promise<Contender<Path>> {
  const pids = await Promise.all(peers.map((peer) => enginePid(peer, 'pegasus')))
  const path = { client, bulk: { address: MESH, port: IPERF }, requests: { address: MESH, port: HTTP } }
  return { name, pids, path }
}

export const haproxy = (sites: TwoSites): Promise<Contender<Path>> =>
  proxies(sites, 'HAProxy, TLS 1.3', 6000, {
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
  return { name, pids, path: { client: sites.client, bulk: target(ports.bulk), requests: target(ports.requests) } }
}
