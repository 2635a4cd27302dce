import { fileURLToPath } from 'node:url'
import type { Host } from '../host.ts'
import type { Task } from '../task.ts'
import type { TcpOrder, TcpOutcome } from './tcp-client.ts'

/** The traffic tools as a story calls them: each is a program of its own that runs inside the host it is given. */

const tool = (name: string, ...args: Array<string | number>): string[] => [
  process.execPath,
  fileURLToPath(new URL(`./${name}.ts`, import.meta.url)),
  ...args.map(String)
]

/** Serves `GET /file` (`bytes` of `text`), `/whoami` and `POST /upload` on every address. */
export async function httpServer(
  host: Host,
  { addresses, port, bytes, text }: { addresses: readonly string[]; port: number; bytes: number; text: string }
): Promise<{ task: Task; sha256: string }> {
  const task = await host.spawn(tool('http-server', port, bytes, text, ...addresses))
  const [first] = await listening(task, addresses.length)
  return { task, sha256: String(first?.['sha256']) }
}

export async function udpEchoServer(host: Host, addresses: readonly string[], port: number): Promise<Task> {
  const task = await host.spawn(tool('udp-echo-server', port, ...addresses))
  await listening(task, addresses.length)
  return task
}

/** `manners`: manner → port, see tcp-server.ts. */
export async function tcpServer(host: Host, address: string, manners: Record<string, number>): Promise<Task> {
  const pairs = Object.entries(manners).map(([manner, port]) => `${manner}=${port}`)
  const task = await host.spawn(tool('tcp-server', address, ...pairs))
  await listening(task, pairs.length)
  return task
}

export async function tcp(host: Host, order: TcpOrder): Promise<TcpOutcome> {
  const options = { timeoutMs: order.waitMs + 10_000 }
  return JSON.parse(await host.exec(tool('tcp-client', JSON.stringify(order)), options)) as TcpOutcome
}

export interface UdpOutcome {
  sent: number
  /** How many came back unchanged. */
  received: number
  /** Who answered, empty when nobody did. */
  from: string
  rtt_ms: number[]
}

export async function udpEcho(
  host: Host,
  {
    address,
    port,
    text,
    count = 3,
    waitMs = 1000
  }: { address: string; port: number; text: string; count?: number; waitMs?: number }
): Promise<UdpOutcome> {
  const options = { timeoutMs: count * waitMs + 10_000 }
  return JSON.parse(await host.exec(tool('udp-echo', address, port, text, count, waitMs), options)) as UdpOutcome
}

export interface PingOutcome {
  sent: number
  received: number
  /** Median round trip, ms; null without an answer. */
  rttMs: number | null
  /** Who said "time to live exceeded", if anybody. */
  expiredAt: string | null
}

/** Echo requests by iputils' ping. `ttl` limits how far they go. */
export async function ping(
  host: Host,
  address: string,
  { count = 3, waitS = 1, ttl }: { count?: number; waitS?: number; ttl?: number } = {}
): Promise<PingOutcome> {
  const limits = ttl == null ? [] : ['-t', String(ttl)]
  const argv = ['ping', '-n', '-i', '0.2', '-c', String(count), '-W', String(waitS), ...limits, address]
  const { stdout } = await host.attempt(argv)
  const rtts = [...stdout.matchAll(/time=([\d.]+) ms/g)].map((match) => Number(match[1])).sort((a, b) => a - b)
  return {
    sent: count,
    received: rtts.length,
    rttMs: rtts[Math.floor(rtts.length / 2)] ?? null,
    expiredAt: /^From (\S+).*(?:Time to live exceeded|Hop limit)/m.exec(stdout)?.[1] ?? null
  }
}

/**
 * How many of `count` echo requests, one every `everyMs`, are answered. More of them follow for a second: for the last one that it
 * sends ping waits twice as long as for the slowest before it, or until the next were due, whatever `-W` says.
 */
export async function answered(
  host: Host,
  address: string,
  { count, everyMs }: { count: number; everyMs: number }
): Promise<number> {
  const sent = String(count + Math.ceil(1000 / everyMs))
  const argv = ['ping', '-n', '-i', String(everyMs / 1000), '-c', sent, '-W', '1', address]
  const { stdout } = await host.attempt(argv, { timeoutMs: 60_000 })
  const numbers = [...stdout.matchAll(/icmp_seq=(\d+) .*time=/g)].map((match) => Number(match[1]))
  return new Set(numbers.filter((number) => number <= count)).size
}

/** A long connection with an echo every `everyMs`; see ticker.ts. Resolves once it is open. */
export async function ticker(host: Host, address: string, port: number, everyMs: number): Promise<Task> {
  const task = await host.spawn(tool('ticker', address, port, everyMs))
  await task.says((line) => line['event'] === 'open')
  return task
}

/** Milliseconds of each of `count` bytes to an echo server and back; see ping-pong.ts. */
export async function pingPong(
  host: Host,
  { address, port, count, manner }: { address: string; port: number; count: number; manner: 'same' | 'new' }
): Promise<number[]> {
  const out = await host.exec(tool('ping-pong', address, port, count, manner), { timeoutMs: 120_000 })
  return (JSON.parse(out) as { ms: number[] }).ms
}

/** Holds `count` connections until it is stopped; see idle-flows.ts. Resolves once all are there or have failed. */
export async function idleFlows(host: Host, address: string, port: number, count: number): Promise<Task> {
  const task = await host.spawn(tool('idle-flows', address, port, count))
  await task.says((line) => line['event'] === 'held', { timeoutMs: 120_000 })
  return task
}

export interface CheckedFlows {
  whole: number
  cut: number
  reset: number
  wrong: number
  hung: number
  refused: number
  bytes: number
}

/** Flows of known bytes, `atOnce` at any time, until it is told to stop; see checked-flows.ts. Resolves once they begin. */
export async function checkedFlows(
  host: Host,
  { address, port, seed, atOnce }: { address: string; port: number; seed: string; atOnce: number }
): Promise<{ stop: () => Promise<CheckedFlows>; errors: () => unknown[] }> {
  const task = await host.spawn(tool('checked-flows', address, port, seed, atOnce))
  await task.says((line) => line['event'] === 'begun')
  return {
    stop: async () => {
      task.kill('SIGTERM')
      return (await task.says((line) => line['event'] === 'done', { timeoutMs: 60_000 })) as unknown as CheckedFlows
    },
    errors: () => task.json().filter(({ event }) => event === 'error')
  }
}

export interface StrangerOutcome {
  connected: number
  ended_by_them: number
}

export type StrangerManner = 'garbage' | 'length' | 'names' | 'slow' | 'silent' | 'udp'

export async function stranger(
  host: Host,
  {
    address,
    port,
    manner,
    count,
    holdMs
  }: { address: string; port: number; manner: StrangerManner; count: number; holdMs: number }
): Promise<StrangerOutcome> {
  const options = { timeoutMs: holdMs + 60_000 }
  return JSON.parse(await host.exec(tool('stranger', address, port, manner, count, holdMs), options)) as StrangerOutcome
}

async function listening(task: Task, sockets: number): Promise<Array<Record<string, unknown>>> {
  const isListening = (line: Record<string, unknown>): boolean => line['event'] === 'listening'
  await task.says(() => task.json().filter(isListening).length === sockets)
  return task.json().filter(isListening)
}
