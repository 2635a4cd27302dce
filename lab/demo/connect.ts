import type { ClusterJson, PeerJson, RouteJson, ServiceJson } from '../../src/actors/operator/operator.ts'
import { invite } from '../peer.ts'
import type { Evidence } from '../story.ts'
import { CLIENT, SERVER, SERVER_NET } from '../topology.ts'
import { ping, udpEcho } from '../traffic/tools.ts'
import { timed, until } from '../wait.ts'
import { ECHO_PORT, HTTP_PORT, type Stage } from './stage.ts'

/** How long two agents on one machine may take to see each other, or a change, ms. Generous: two busy cores. */
const patienceMs = 15_000

const ms = (value: number): string => `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`

/** Step 0. The edges have no route to each other's network; whatever passes later, the mesh has carried. */
export async function showNothingPasses({ sites }: Stage, { check }: Evidence): Promise<void> {
  const { client } = sites
  await Promise.all(
    Object.values(SERVER).map(async (address) => {
      const host = address.includes(':') ? `[${address}]` : address
      const [icmp, udp, http] = await Promise.all([
        ping(client, address, { count: 1 }),
        udpEcho(client, { address, port: ECHO_PORT, text: 'anybody?', count: 1, waitMs: 500 }),
        client.attempt(['curl', '-sS', '-m', '1', `http://${host}:${HTTP_PORT}/whoami`])
      ])
      const passed = [icmp.received > 0 && 'ping', udp.received > 0 && 'UDP', http.code === 0 && 'HTTP'].filter(Boolean)
      const seen = passed.length === 0 ? 'ping, UDP, HTTP: no answer' : `answered: ${passed.join(', ')}`
      check(passed.length === 0, `client → ${address}`, seen)
    })
  )
}

/** Step 1. */
export async function startAgents({ a, b }: Stage, { show }: Evidence): Promise<void> {
  await Promise.all([a.start(), b.start()])
  for (const peer of [a, b]) {
    const { peer: self, dataplane } = await peer.status()
    const engines = dataplane.engines.map(({ engine, pid }) => `${engine} ${pid}`).join(', ')
    show(self.name, `agent ${peer.agent.pid}, ${engines}\n${self.id}`)
  }
}

/** Step 2: init on a, invite, join on b; both list both. */
export async function formCluster({ a, b }: Stage, { show, check }: Evidence): Promise<void> {
  const { name } = await a.ask<ClusterJson>('cluster', 'init', '--name', 'demo')
  show('edge-a: cluster init', `cluster "${name}"`)
  const token = await invite(a)
  show('edge-a: cluster invite', `${token.slice(0, 24)}… (${token.length} characters)`)
  const { ms: took } = await timed(() => b.ask('cluster', 'join', token))
  show('edge-b: cluster join', `admitted and synced in ${ms(took)}`)
  for (const peer of [a, b]) {
    const list = (): Promise<PeerJson[]> => peer.ask<PeerJson[]>('peers', 'list')
    const complete = (peers: PeerJson[]): boolean =>
      peers.length === 2 && peers.every(({ state, reachable }) => state === 'admitted' && reachable)
    const peers = await until(
      'both peers in the list',
      async () => list().then((found) => (complete(found) ? found : null)),
      { timeoutMs: patienceMs, everyMs: 100 }
    ).catch(list)
    const lines = peers.map(
      ({ name: who, state, role, reachable }) => `${who} ${state} ${role}${reachable ? '' : ' unreachable'}`
    )
    check(complete(peers), `${peer.host.name}: peers list`, lines.join(', '))
  }
}

/** Step 3: made on the peer that is not its source; no command on the source. Returns the service's id. */
export async function connectSites({ a, b }: Stage, { show, check }: Evidence): Promise<string> {
  const flags = ['--source-peer', 'edge-a', '--target-peer', 'edge-b', '--name', 'offices']
  const service = await b.ask<ServiceJson>('services', 'create', ...flags)
  show('edge-b: services create', `${service.id} edge-a → edge-b`)
  const { ms: took } = await timed(async () => {
    await addRoute(SERVER_NET.v4)
    await a.active(service.id, patienceMs)
  })
  const typed = `in force on both hosts ${ms(took)} after the command was typed`
  await addRoute(SERVER_NET.v6)
  const seen = await until(
    'both routes on edge-a',
    async () => {
      const routes = await a.ask<RouteJson[]>('routes', 'list', '--service', service.id)
      return routes.length === 2 && routes.every(({ status }) => status === 'active') ? routes : null
    },
    { timeoutMs: patienceMs, everyMs: 100 }
  )
  await Promise.all([a.active(service.id, patienceMs), b.active(service.id, patienceMs)])
  check(seen.length === 2, 'edge-a: routes list', seen.map(({ dest_cidr: to, status }) => `${to} ${status}`).join(', '))
  show('propagation', typed)
  const { propagation_ms: spread } = await a.ask<ClusterJson>('cluster', 'status')
  const known = spread.samples > 0 && spread.p50 != null
  check(
    known,
    'edge-a: cluster status',
    known
      ? `written on edge-b to durable on edge-a: p50 ${ms(spread.p50 ?? 0)}, p99 ${ms(spread.p99 ?? 0)} of ${spread.samples} changes`
      : 'no propagation was measured'
  )
  show('client', `${CLIENT.v4} and ${CLIENT.v6}: nothing was set there`)
  return service.id

  async function addRoute(destination: string): Promise<void> {
    await b.ask('routes', 'add', '--service', service.id, '--dest-cidr', destination)
    show('edge-b: routes add', destination)
  }
}
