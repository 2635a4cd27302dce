import { parseFaults } from './fault-list.ts'
import type { RunResult } from './run.ts'

const [left, right, laneHeight, pixels] = [110, 20, 22, 1_100]

const COLOURS = {
  fault: '#d1242f',
  change: '#1f6feb',
  apply: '#8c959f',
  life: '#9a6700',
  agree: '#1a7f37',
  violation: '#d1242f'
} as const

/**
 * A run as a page of its own: a lane per host over virtual time, faults as bars in the lanes of their hosts, events as dots
 * that say what they are under the pointer, and the summary with the line that does it again.
 */
export function timelinePage(result: RunResult, summary: string): string {
  const { scenario, peers, seed, virtual_seconds: seconds, work_began_ms: began, timeline } = result
  const hosts = Math.max(peers, ...timeline.map(({ host }) => (host ?? 0) + 1))
  const x = (ms: number): string => (left + (ms / (seconds * 1_000)) * (pixels - left - right)).toFixed(1)
  // What concerns all stands in the lane above the hosts.
  const y = (host: number | null): number => 30 + ((host ?? -1) + 1) * laneHeight
  const height = y(hosts) + 10
  const svg: string[] = []
  const step = [1, 2, 5, 10, 20, 60, 120, 300].find((one) => seconds / one <= 15) ?? 600
  for (let at = 0; at <= seconds; at += step) {
    svg.push(`<path d="M${x(at * 1_000)} 16V${height}" stroke="#eee"/>`)
    svg.push(`<text x="${x(at * 1_000)}" y="12" text-anchor="middle">${at} s</text>`)
  }
  for (let host = -1; host < hosts; host++) {
    const name = host < 0 ? 'all' : `host-${host}`
    svg.push(
      `<text x="4" y="${y(host) + 4}">${name}</text><path d="M${left} ${y(host)}H${pixels - right}" stroke="#ddd"/>`
    )
  }
  for (const { kind, at, forMs, groups, amount } of parseFaults(result.faults)) {
    const named = groups.flat()
    const what = `${kind}${amount === 0 ? '' : ` ${amount}`}, ${forMs} ms`
    for (const host of named.length === 0 ? [null] : named) {
      const [from, to] = [x(began + at), x(began + at + forMs)]
      const bar = `x="${from}" y="${y(host) - 7}" width="${Math.max(2, Number(to) - Number(from)).toFixed(1)}" height="14"`
      svg.push(`<rect ${bar} fill="${COLOURS.fault}" fill-opacity="0.25"><title>${escaped(what)}</title></rect>`)
    }
  }
  for (const { at, host, kind, text } of timeline) {
    if (kind === 'apply' || kind === 'fault') continue
    const tip = `${(at / 1_000).toFixed(2)} s: ${text}`
    const dot = `cx="${x(at)}" cy="${y(host)}" r="${kind === 'violation' ? 6 : 3}"`
    svg.push(`<circle ${dot} fill="${COLOURS[kind]}"><title>${escaped(tip)}</title></circle>`)
  }
  const title = escaped(`${scenario}, ${peers} peers, seed ${seed}`)
  return `<!doctype html>
<meta charset="utf-8">
<title>${title}</title>
<style>body { font: 13px sans-serif; margin: 20px } svg { font-size: 11px } pre { white-space: pre-wrap }</style>
<h1>${title}</h1>
<pre>${escaped(summary)}</pre>
<svg width="${pixels}" height="${height}">
${svg.join('\n')}
</svg>
`
}

const escaped = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')
