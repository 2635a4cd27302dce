import { spawn } from 'node:child_process'
import { createReadStream } from 'node:fs'
import type { Readable } from 'node:stream'
import { UnavailableError } from '../errors.ts'
import type { DesiredState } from './desired.ts'
import { childTimeoutMs, trackedFlowsMax } from './limits.ts'
import type { Marks } from './marks.ts'
import { memberEndpoints, whyNeverTaken, type HostNetworks } from './never-taken.ts'
import { contains, formatAddress, parseAddress, parsePrefix, type Address, type Prefix } from './prefix.ts'

/**
 * What goes through a host now, whoever carries it, as its kernel tracks it: UDP and all else that no engine lists, and what goes
 * in the clear. Addresses alone: that is what routes go by.
 */
export interface TrackedFlows {
  flows: TrackedFlow[]
  /** True when there are more than `flows` holds. */
  more: boolean
}

/** Who began it, and with whom. */
export interface TrackedFlow {
  source: string
  dest: string
}

/** What of a host says which connections are no business of its routes. */
export interface Bystander {
  host: HostNetworks
  marks: Pick<Marks, 'zone' | 'tunnelsMax'>
  desired: Pick<DesiredState, 'endpoints' | 'inbound'>
}

/**
 * Each pair of addresses once. Left out are what no route can take, what came out of a tunnel, the engines' and agents' own
 * connections, and those to what a service brings here: Pegasus makes them.
 *
 * UnavailableError when the host shows no connections.
 */
export async function trackedFlows(
  bystander: Bystander,
  lines: AsyncIterable<string> = trackedLines()
): Promise<TrackedFlows> {
  const isOurs = ownConnections(bystander)
  const found = new Map<string, TrackedFlow>()
  for await (const line of lines) {
    const connection = parseTracked(line)
    if (connection == null || isOurs(connection)) continue
    const { source, dest } = connection
    const key = `${source.text} ${dest.text}`
    if (found.has(key)) continue
    if (found.size >= trackedFlowsMax) return { flows: [...found.values()], more: true }
    found.set(key, { source: formatAddress(source), dest: formatAddress(dest) })
  }
  return { flows: [...found.values()], more: false }
}

interface End extends Address {
  text: string
  port: string
}

interface Connection {
  protocol: string
  source: End
  dest: End
  /** In which its first packet was tracked; 0 for none. */
  zone: number
}

/**
 * A line of `/proc/net/nf_conntrack`, or of `conntrack -L -o extended`: the network protocol and its number, the transport's and its
 * number, then names and values, those of the direction in which it began first. Null for what is none.
 */
export function parseTracked(line: string): Connection | null {
  const [, protocol = '', source = '', dest = '', ports = ''] = LINE.exec(line) ?? []
  const [, sport = '', dport = ''] = PORTS.exec(ports) ?? []
  const [, zone = '0'] = ZONE.exec(line) ?? []
  const [from, to] = [parseAddress(source), parseAddress(dest)]
  if (from == null || to == null || from.family !== to.family) return null
  return {
    protocol,
    source: { ...from, text: source, port: sport },
    dest: { ...to, text: dest, port: dport },
    zone: Number(zone)
  }
}

const LINE = /^ipv[46] +\d+ +(\S+) .*?\bsrc=(\S+) dst=(\S+)((?: sport=\d+ dport=\d+)?)/
const PORTS = /sport=(\d+) dport=(\d+)/
const ZONE = /\bzone(?:-orig)?=(\d+)/

function ownConnections({ host, marks, desired }: Bystander): (connection: Connection) => boolean {
  const members = new Set(
    memberEndpoints(desired.endpoints).map(({ address, port, protocol }) => `${keyOf(address)} ${port} ${protocol}`)
  )
  const isMember = (end: End, protocol: string): boolean => members.has(`${keyOf(end)} ${end.port} ${protocol}`)
  const own = new Set(host.own.map(keyOf))
  const brought = desired.inbound.flatMap(({ routes }) => routes.map(({ destCidr }) => prefixOf(destCidr)))
  const isBrought = (dest: Address): boolean => brought.some((prefix) => prefix == null || contains(prefix, dest))
  return ({ protocol, source, dest, zone }) =>
    (zone > marks.zone && zone <= marks.zone + marks.tunnelsMax) ||
    whyNeverTaken(host, source, dest) != null ||
    isMember(dest, protocol) ||
    isMember(source, protocol) ||
    (protocol === 'tcp' && own.has(keyOf(source)) && isBrought(dest))
}

const keyOf = ({ family, value }: Address): string => `${family} ${value}`

/** Null takes every destination. */
const prefixOf = (cidr: string | null): Prefix | null => (cidr == null ? null : parsePrefix(cidr))

/** By the kernel's file, or where it has none by the program that asks it. */
async function* trackedLines(): AsyncGenerator<string> {
  try {
    yield* linesOf(createReadStream('/proc/self/net/nf_conntrack'))
    return
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw notShown(error)
  }
  const child = spawn('conntrack', ['-L', '-o', 'extended'], {
    stdio: ['ignore', 'pipe', 'ignore'],
    timeout: childTimeoutMs,
    killSignal: 'SIGKILL'
  })
  const ended = new Promise<void>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code, signal) => {
      if (code === 0) resolve()
      else reject(new Error(`conntrack ended with ${code ?? signal}`))
    })
  })
  // Waited for below, once all that it said has been read.
  ended.catch(() => {})
  try {
    yield* linesOf(child.stdout)
    await ended.catch((error: unknown) => {
      throw notShown(error)
    })
  } finally {
    child.kill('SIGKILL')
  }
}

async function* linesOf(stream: Readable): AsyncGenerator<string> {
  let rest = ''
  for await (const chunk of stream.setEncoding('utf8') as AsyncIterable<string>) {
    const lines = `${rest}${chunk}`.split('\n')
    rest = lines.pop() ?? ''
    yield* lines
  }
  if (rest !== '') yield rest
}

const notShown = (cause: unknown): UnavailableError =>
  new UnavailableError(
    'this host does not show what its kernel tracks: it has no /proc/net/nf_conntrack; install the program conntrack there',
    {},
    { cause }
  )
