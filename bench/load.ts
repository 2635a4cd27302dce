import type { Host } from '../lab/host.ts'
import { until } from '../lab/wait.ts'
import { cpuSeconds } from './cpu.ts'
import { datagramBytes, graceMs } from './limits.ts'
import type { Figures } from './rounds.ts'

export interface Target {
  address: string
  port: number
}

/** Runs `iperf3` as a server on every one of these addresses; on these cores only, when given. */
export async function iperfServers(
  server: Host,
  addresses: readonly string[],
  port: number,
  cores?: string
): Promise<void> {
  for (const address of addresses) {
    await server.spawn([...onCores(cores), 'iperf3', '-s', '-B', address, '-p', String(port)])
  }
  await until(
    'iperf3 to listen',
    async () => {
      const sockets = await server.exec(['ss', '-Hltn', `sport = :${port}`])
      return sockets.trim().split('\n').length === addresses.length
    },
    { timeoutMs: 5000 }
  )
}

const onCores = (cores: string | undefined): string[] => (cores == null ? [] : ['taskset', '--cpu-list', cores])

interface IperfSum {
  bytes: number
  seconds: number
  bits_per_second: number
  packets?: number
  lost_packets?: number
}

interface IperfJson {
  error?: string
  end: { sum_received: IperfSum; sum: IperfSum }
}

/**
 * Bulk TCP: Gbit/s as received, and the CPU seconds that `pids` spent per GB (10⁹ bytes) of it. `reverse`: to the client.
 * `congestion`: the client's congestion control; the host's when not given. `cores`: those that the client may use.
 */
export async function bulk(
  client: Host,
  { address, port }: Target,
  {
    flows,
    seconds,
    pids,
    reverse = false,
    congestion,
    cores
  }: {
    flows: number
    seconds: number
    pids: readonly number[]
    reverse?: boolean
    congestion?: string
    cores?: string
  }
): Promise<{ gbps: number; cpuPerGb: number }> {
  const before = cpuSeconds(pids)
  const what = ['-c', address, '-p', String(port), '-P', String(flows), '-t', String(seconds)]
  const how = [...(reverse ? ['-R'] : []), ...(congestion == null ? [] : ['-C', congestion])]
  const { end } = await iperf(client, [...what, ...how], seconds, cores)
  const { bytes, seconds: took } = end.sum_received
  return { gbps: (bytes * 8) / took / 1e9, cpuPerGb: (cpuSeconds(pids) - before) / (bytes / 1e9) }
}

/** A UDP flood: what arrives, in thousands of datagrams a second, its share lost, and CPU seconds per GB that arrived. */
export async function flood(
  client: Host,
  { address, port }: Target,
  { seconds, pids }: { seconds: number; pids: readonly number[] }
): Promise<Figures> {
  const before = cpuSeconds(pids)
  const flags = ['-u', '-b', '0', '-l', String(datagramBytes), '-t', String(seconds)]
  const { end } = await iperf(client, ['-c', address, '-p', String(port), ...flags], seconds)
  const { packets = 0, lost_packets: lost = 0, seconds: took } = end.sum
  const arrived = packets - lost
  const gigabytes = (arrived * datagramBytes) / 1e9
  return {
    kpps: arrived / took / 1000,
    lossPercent: (100 * lost) / Math.max(1, packets),
    udpCpuPerGb: (cpuSeconds(pids) - before) / gigabytes
  }
}

async function iperf(client: Host, flags: readonly string[], seconds: number, cores?: string): Promise<IperfJson> {
  const argv = [...onCores(cores), 'iperf3', '-J', ...flags]
  const { stdout } = await client.attempt(argv, { timeoutMs: seconds * 1000 + graceMs })
  const answer = JSON.parse(stdout || '{"error":"no answer"}') as IperfJson
  if (answer.error != null) throw new Error(`iperf3 ${flags.join(' ')}: ${answer.error}`)
  return answer
}

const UNITS: Record<string, number> = { us: 1, ms: 1000, s: 1_000_000 }

/**
 * HTTP by wrk: requests a second, latencies in µs, and the CPU time in µs that `pids` spent per request. With `close` each
 * request has a connection of its own.
 */
export async function requests(
  client: Host,
  { address, port }: Target,
  {
    connections,
    seconds,
    close,
    pids,
    starter = []
  }: {
    connections: number
    seconds: number
    close: boolean
    pids: readonly number[]
    /** A program, with its arguments, that starts wrk. */
    starter?: readonly string[]
  }
): Promise<{ perSecond: number; p50: number; p99: number; cpu: number; count: number }> {
  const header = close ? ['-H', 'Connection: close'] : []
  const before = cpuSeconds(pids)
  const flags = ['-t', '1', '-c', String(connections), '-d', `${seconds}s`, '--latency', ...header]
  const out = await client.exec([...starter, 'wrk', ...flags, `http://${address}:${port}/`], {
    timeoutMs: seconds * 1000 + graceMs
  })
  const errors = /Socket errors: (.*)/.exec(out)?.[1]
  // With `close` wrk counts the orderly end after each answer as a read error on some servers; timeouts are real ones.
  if (errors != null && !/connect 0,.*timeout 0/.test(errors)) throw new Error(`wrk ${address}:${port}: ${errors}`)
  const latency = (percentile: string): number => {
    const match = new RegExp(`${percentile}%\\s+([\\d.]+)(us|ms|s)`).exec(out)
    return Number(match?.[1]) * (UNITS[match?.[2] ?? ''] ?? Number.NaN)
  }
  const count = Number(/(\d+) requests in/.exec(out)?.[1])
  return {
    perSecond: Number(/Requests\/sec:\s+([\d.]+)/.exec(out)?.[1]),
    p50: latency('50'),
    p99: latency('99'),
    cpu: ((cpuSeconds(pids) - before) * 1e6) / count,
    count
  }
}
