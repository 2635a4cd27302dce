import type { RouteTestJson, ServiceJson } from '../../src/actors/operator/operator.ts'
import type { Capture } from '../capture.ts'
import { ARCTIC } from '../peer.ts'
import type { Evidence } from '../story.ts'
import { CLIENT, EDGE_B, SERVER } from '../topology.ts'
import { udpEcho } from '../traffic/tools.ts'
import { until } from '../wait.ts'
import { FAMILIES, type Carried } from './carry.ts'
import { BODY_TEXT, CLEAR_TEXT, ECHO_TEXT, FILE_BYTES, HTTP_PORT, MIB, type Stage } from './stage.ts'

/** Step 5: shown, not told. */
export async function showWhatWasSeen(
  stage: Stage,
  serviceId: string,
  wire: Capture,
  carried: Carried,
  evidence: Evidence
): Promise<void> {
  sourcesAtServer(stage, carried, evidence)
  await accessLines(stage, carried, evidence)
  await onTheWire(stage, wire, evidence)
  await whyThere(stage, serviceId, evidence)
  await counters(stage, serviceId, evidence)
}

/** The target peer's address, for every protocol: the server has no route to the client's network and needs none. */
function sourcesAtServer({ servers }: Stage, { pingSources }: Carried, { check }: Evidence): void {
  const expected = new Set<string>([EDGE_B.lan4, EDGE_B.lan6])
  const seen = {
    HTTP: new Set(servers.http.json().flatMap((line) => (line['event'] === 'request' ? [String(line['from'])] : []))),
    ping: new Set([...pingSources].map(compressed)),
    UDP: new Set(servers.echo.json().flatMap((line) => (line['event'] === 'datagram' ? [String(line['from'])] : [])))
  }
  for (const [protocol, sources] of Object.entries(seen)) {
    const right = sources.size === 2 && [...sources].every((source) => expected.has(source))
    check(right, `server saw ${protocol} from`, `${[...sources].join(' and ') || 'nobody'}${right ? ' (edge-b)' : ''}`)
  }
}

/** Both sides write exactly one line per flow; the target's is the one that tells who it really was. */
async function accessLines({ a, b }: Stage, { clientPorts }: Carried, { check }: Evidence): Promise<void> {
  for (const family of FAMILIES) {
    const client = endpoint(CLIENT[family], clientPorts[family])
    const lines = (): Array<Record<string, unknown>> => b.accessLines(client)
    await until('the access line', () => lines().length > 0, { timeoutMs: 2000 }).catch(() => {})
    const [line] = lines()
    const server = endpoint(SERVER[family], HTTP_PORT)
    const right = lines().length === 1 && line?.['destination'] === server && a.accessLines(client).length === 1
    const told = ['side', 'client', 'destination', 'dialled_from', 'bytes_in', 'bytes_out', 'duration_ms', 'reason']
      .filter((key) => line?.[key] != null)
      .map((key) => `${key}=${line?.[key]}`)
    check(right, `edge-b's log, ${family}`, line == null ? `no line names ${client}` : twoLines(told))
  }
}

/** That neither text is on the wire means nothing unless the same capture finds one that is: so one is sent. */
async function onTheWire({ sites }: Stage, wire: Capture, { check }: Evidence): Promise<void> {
  await udpEcho(sites.edgeA, { address: EDGE_B.wire4, port: 9, text: CLEAR_TEXT, count: 1, waitMs: 100 })
  const { packets, bytes, dropped, byPort, found } = await wire.stop([CLEAR_TEXT, BODY_TEXT, ECHO_TEXT])
  const times = (text: string): number => found.get(text) ?? 0
  const port = (name: string): number => byPort.get(name) ?? 0
  const carriers = port('tcp/7947')
  const tunnel = port('udp/7947')
  const complete = bytes > 2 * FILE_BYTES && dropped === 0
  check(
    complete,
    'capture of the wire',
    `${packets} packets, ${Math.round(bytes / MIB)} MiB, ${dropped} lost by the capture`
  )
  const ours = `tcp/7947 ${carriers}, udp/7947 ${tunnel}, mesh tcp/7946 ${port('tcp/7946')} packets`
  check(carriers > 0 && tunnel > 0, '… the mesh is in it', ours)
  check(
    times(CLEAR_TEXT) > 0,
    '… a text in the clear',
    `"${CLEAR_TEXT}": found ${times(CLEAR_TEXT)} times, so the search works`
  )
  for (const [what, text] of [
    ['HTTP body', BODY_TEXT],
    ['UDP echo', ECHO_TEXT]
  ] as const) {
    check(
      times(text) === 0,
      `… the ${what}`,
      times(text) === 0 ? `"${text}": not found` : `"${text}": found ${times(text)} times`
    )
  }
}

async function whyThere({ a }: Stage, serviceId: string, { check }: Evidence): Promise<void> {
  const question = ['--source', CLIENT.v4, '--dest', SERVER.v4]
  for (const [protocol, handler] of [
    ['tcp', 'pegasus'],
    ['udp', 'tempest']
  ] as const) {
    const answer = await a.ask<RouteTestJson>('routes', 'test', ...question, '--protocol', protocol)
    const right = answer.service_id === serviceId && answer.handler === handler
    check(right, `edge-a: routes test, ${protocol}`, `${answer.handler} to ${answer.target_peer_id}`)
  }
  const { candidates = [] } = await a.ask<RouteTestJson>('routes', 'test', ...question, '--trace')
  const won = candidates.filter((candidate) => candidate.won)
  const text = await a.host.exec([ARCTIC, '--socket', a.socket, 'routes', 'test', ...question, '--trace'])
  check(won.length === 1 && won[0]?.service_id === serviceId, '… --trace', text.trimEnd())
}

async function counters({ a }: Stage, serviceId: string, { check }: Evidence): Promise<void> {
  const counted = await until(
    'the counters',
    async () => {
      const { status } = await a.ask<ServiceJson>('services', 'get', serviceId)
      return status.bytes_out >= 2 * FILE_BYTES ? status : null
    },
    { timeoutMs: 3000, everyMs: 200 }
  ).catch(async () => (await a.ask<ServiceJson>('services', 'get', serviceId)).status)
  const { phase, bytes_in: up, bytes_out: down, effective_transport: transport } = counted
  const seen = `${phase}, ${up} bytes from the client, ${down} to it, transport ${transport}`
  check(phase === 'active' && down >= 2 * FILE_BYTES && up > 0, 'edge-a: services get', seen)
}

const endpoint = (address: string, port: number): string =>
  address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`

/** A captured IPv6 address in its usual short form. */
const compressed = (address: string): string =>
  address.includes(':') ? new URL(`http://[${address}]`).hostname.slice(1, -1) : address

const twoLines = (parts: readonly string[]): string =>
  [parts.slice(0, 4).join(' '), parts.slice(4).join(' ')].filter((line) => line !== '').join('\n')
