import { readFileSync } from 'node:fs'
import { release } from 'node:os'
import { attempt } from '../lab/command.ts'
import type { Host } from '../lab/host.ts'
import { cpuModel } from './cpu.ts'
import { datagramBytes, manyFlows } from './limits.ts'
import type { Figures, Result } from './rounds.ts'

export interface Column {
  title: string
  figure: string
  digits: number
}

export const TCP_COLUMNS: readonly Column[] = [
  { title: 'Gbit/s, 1 flow', figure: 'gbps1', digits: 2 },
  { title: `Gbit/s, ${manyFlows} flows`, figure: 'gbps8', digits: 2 },
  { title: 'back: 1 flow', figure: 'gbps1Back', digits: 2 },
  { title: `${manyFlows} flows`, figure: 'gbps8Back', digits: 2 },
  { title: 'CPU-s per GB', figure: 'cpuPerGb', digits: 2 }
]

export const IP_COLUMNS: readonly Column[] = [
  { title: 'UDP kpps arrived', figure: 'kpps', digits: 1 },
  { title: 'UDP lost %', figure: 'lossPercent', digits: 1 },
  { title: 'UDP CPU-s per GB', figure: 'udpCpuPerGb', digits: 2 },
  { title: 'TCP Gbit/s, 1 flow', figure: 'gbps', digits: 2 },
  { title: 'TCP CPU-s per GB', figure: 'cpuPerGb', digits: 2 }
]

/** A Markdown table of medians; in brackets how many times the reference's figure that is. */
export function table(results: readonly Result[], columns: readonly Column[], reference: string): string {
  const base = results.find(({ name }) => name === reference)?.median
  const rows = results.map(({ name, median }) => [name, ...columns.map((column) => cell(median, base, column))])
  const header = ['', ...columns.map(({ title }) => title)]
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`
  return [line(header), line(header.map((_, i) => (i === 0 ? '---' : '---:'))), ...rows.map(line)].join('\n')
}

function cell(figures: Figures, base: Figures | undefined, { figure, digits }: Column): string {
  const value = figures[figure]
  if (value == null || !Number.isFinite(value)) return '–'
  const reference = base?.[figure]
  const times = reference == null || figures === base || !(reference > 0) ? '' : ` (${(value / reference).toFixed(2)}×)`
  return `${value.toFixed(digits)}${times}`
}

/** What the figures were taken on: without it they say nothing. */
export async function circumstances(
  client: Host,
  { command, rounds, seconds, date }: { command: string; rounds: number; seconds: number; date: string }
): Promise<string> {
  const first = async (...argv: string[]): Promise<string> =>
    (await attempt(argv).catch(() => null))?.stdout.split('\n')[0]?.trim() ?? '–'
  const congestion = (await client.exec(['cat', '/proc/sys/net/ipv4/tcp_congestion_control'])).trim()
  const cores = (readFileSync('/proc/cpuinfo', 'utf8').match(/^processor/gm) ?? []).length
  const rustc = await first('rustc', '--version')
  return [
    `Made by \`${command}\` on ${date}: ${rounds} rounds of ${seconds} s for each figure, interleaved, medians.`,
    '',
    `- ${cores} cores (${cpuModel()}), shared by client, server, both edges and the load generators; Linux ${release()}`,
    `- network namespaces joined by veth, MTU 1500; congestion control ${congestion} everywhere`,
    `- ${await first('haproxy', '-v')}, ${await first('openssl', 'version')}; nginx and stunnel of the distribution`,
    '- TLS 1.3 with AES-256-GCM everywhere, 64 KiB buffers where they can be set; Pegasus seals with AES-256-GCM',
    `- ${await first('iperf3', '--version')}, ${await first('wrk', '-v')}; Node ${process.version}; ${rustc}`,
    '- CPU-s: user and system time of the two carrying processes (entry and exit), not of the load generators',
    `- UDP: datagrams of ${datagramBytes} bytes as fast as one sender sends them; what arrived is counted`
  ].join('\n')
}

/** Jain's fairness index: 1 when all have the same, 1/n when one has everything. */
export function jain(values: readonly number[]): number {
  const sum = values.reduce((a, b) => a + b, 0)
  return sum ** 2 / (values.length * values.reduce((a, b) => a + b ** 2, 0))
}
