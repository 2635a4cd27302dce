import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { pipeline } from 'node:stream/promises'
import { Capture } from '../capture.ts'
import type { Host } from '../host.ts'
import { packets } from '../pcap.ts'
import type { Evidence } from '../story.ts'
import { EDGE_A, SERVER } from '../topology.ts'
import { httpServer, ping, udpEcho, udpEchoServer } from '../traffic/tools.ts'
import { timed } from '../wait.ts'
import { BODY_TEXT, ECHO_PORT, ECHO_TEXT, FILE_BYTES, HTTP_PORT, MIB, type Servers, type Stage } from './stage.ts'

export type Family = 'v4' | 'v6'
export const FAMILIES: readonly Family[] = ['v4', 'v6']

/** What step 4 leaves for step 5 to look at. */
export interface Carried {
  /** The client's ports of its two downloads. */
  clientPorts: Record<Family, number>
  /** Whom the server saw as the source of echo requests. */
  pingSources: Set<string>
}

/** Beyond this a path is too long for this lab: client, edge-a, edge-b, server. */
const HOPS_MAX = 4

export async function startServers(server: Host): Promise<Servers> {
  const addresses = [SERVER.v4, SERVER.v6]
  const [{ task: http, sha256 }, echo] = await Promise.all([
    httpServer(server, { addresses, port: HTTP_PORT, bytes: FILE_BYTES, text: BODY_TEXT }),
    udpEchoServer(server, addresses, ECHO_PORT)
  ])
  return { http, sha256, echo }
}

/** Step 4: HTTP, ping, UDP and an expiring TTL, over IPv4 and IPv6, from a client with nothing but a default route. */
export async function carry({ sites, servers }: Stage, { check }: Evidence): Promise<Carried> {
  const { client, server } = sites
  const echoRequests = 'icmp[icmptype] = icmp-echo or (icmp6 and ip6[40] = 128)'
  const atServer = await Capture.start(server, 'eth0', echoRequests)
  const clientPorts = { v4: 0, v6: 0 }
  for (const family of FAMILIES) {
    const address = SERVER[family]
    const { ms, result } = await timed(() => download(client, address))
    const rate = `${FILE_BYTES / MIB} MiB in ${(ms / 1000).toFixed(2)} s`
    const equal = result.sha256 === servers.sha256
    clientPorts[family] = result.localPort
    check(
      equal,
      `curl http://${address}`,
      `${rate}, SHA-256 ${result.sha256.slice(0, 12)}… ${equal ? 'equal' : 'differs'}`
    )

    const icmp = await ping(client, address)
    check(icmp.received === icmp.sent, `ping ${address}`, `${icmp.received} of ${icmp.sent} answered, ${icmp.rttMs} ms`)

    const echo = await udpEcho(client, { address, port: ECHO_PORT, text: ECHO_TEXT })
    check(echo.received === echo.sent, `UDP echo ${address}`, `${echo.received} of ${echo.sent} came back unchanged`)

    const { hops, arrived } = await trace(client, address)
    const again = await ping(client, address, { count: 1 })
    const firstHop = hops[0] === (family === 'v4' ? EDGE_A.lan4 : EDGE_A.lan6)
    const after = again.received === 1 ? 'and ping still answers' : 'and ping answers no more'
    check(firstHop && arrived && again.received === 1, `TTL 1 to ${hops.length}`, `${hops.join(' → ')}, ${after}`)
  }
  await atServer.stop()
  return { clientPorts, pingSources: new Set([...packets(atServer.path)].map(({ source }) => source)) }
}

async function download(client: Host, address: string): Promise<{ sha256: string; localPort: number }> {
  const file = client.path('file')
  const url = `http://${address.includes(':') ? `[${address}]` : address}:${HTTP_PORT}/file`
  const out = await client.attempt(['curl', '-sS', '-m', '25', '-o', file, '-w', '%{local_port}', url])
  if (out.code !== 0) return { sha256: out.stderr.trim(), localPort: 0 }
  const hash = createHash('sha256')
  await pipeline(createReadStream(file), hash)
  return { sha256: hash.digest('hex'), localPort: Number(out.stdout) }
}

/** What traceroute does, by ping: who answers when a packet may go one, two, three hops far. `*` where nobody says. */
async function trace(client: Host, address: string): Promise<{ hops: string[]; arrived: boolean }> {
  const hops: string[] = []
  for (let ttl = 1; ttl <= HOPS_MAX; ttl++) {
    const { received, expiredAt } = await ping(client, address, { count: 1, ttl })
    hops.push(received > 0 ? address : (expiredAt ?? '*'))
    if (received > 0) return { hops, arrived: true }
  }
  return { hops, arrived: false }
}
