import { systemClock } from '../src/clock.ts'
import type { Host } from './host.ts'
import { restMs } from './limits.ts'
import { until } from './wait.ts'

/** What a host's kernel is set to, as text, section by section: for "byte for byte as before". */
export type Snapshot = Readonly<Record<(typeof SECTIONS)[number]['name'], string>>

/** Nothing here counts or ages by itself: two snapshots of a quiet host are equal. */
const SECTIONS = [
  { name: 'nftables', argv: ['nft', '-s', 'list', 'ruleset'] },
  { name: 'rules', argv: ['ip', '-4', 'rule', 'show'] },
  { name: 'rules6', argv: ['ip', '-6', 'rule', 'show'] },
  { name: 'routes', argv: ['ip', '-4', 'route', 'show', 'table', 'all'] },
  { name: 'routes6', argv: ['ip', '-6', 'route', 'show', 'table', 'all'] },
  { name: 'links', argv: ['ip', '-d', 'link', 'show'] },
  { name: 'addresses', argv: ['ip', '-br', 'address', 'show'] },
  // Sorted: the order in which the kernel lists /proc is its own affair. Files that cannot be read say nothing.
  {
    name: 'sysctls',
    argv: ['sh', '-c', 'grep -r "" /proc/sys/net/ipv4 /proc/sys/net/ipv6 /proc/sys/net/core 2>/dev/null | sort']
  }
] as const

export async function snapshotHost(host: Host): Promise<Snapshot> {
  const sections = await Promise.all(SECTIONS.map(async ({ name, argv }) => [name, await host.exec(argv)] as const))
  return Object.fromEntries(sections) as Snapshot
}

/** The same once the host has come to rest: nothing has changed for {@link restMs}. Rejects when it does not within `timeoutMs`. */
export async function settledSnapshot(host: Host, timeoutMs = 15_000): Promise<Snapshot> {
  let last = await snapshotHost(host)
  let since = systemClock.monotonic()
  return await until(
    `${host.name} to come to rest`,
    async () => {
      const now = await snapshotHost(host)
      if (snapshotDiff(last, now).length > 0) since = systemClock.monotonic()
      last = now
      return systemClock.monotonic() - since > restMs ? now : null
    },
    { timeoutMs, everyMs: 100 }
  )
}

/** The lines in which two snapshots differ, `-` only before, `+` only after. Empty when they are equal byte for byte. */
export function snapshotDiff(before: Snapshot, after: Snapshot): string[] {
  return SECTIONS.flatMap(({ name }) => {
    if (before[name] === after[name]) return []
    const was = before[name].split('\n')
    const is = after[name].split('\n')
    const lines = [
      ...without(was, is).map((line) => `${name}: - ${line.trim()}`),
      ...without(is, was).map((line) => `${name}: + ${line.trim()}`)
    ]
    return lines.length === 0 ? [`${name}: the same lines in another order`] : lines
  })
}

/** The lines of `lines` that are not in `others`, each as often as it is missing. */
function without(lines: readonly string[], others: readonly string[]): string[] {
  const left = [...others]
  return lines.filter((line) => {
    const at = left.indexOf(line)
    if (at === -1) return true
    left.splice(at, 1)
    return false
  })
}
