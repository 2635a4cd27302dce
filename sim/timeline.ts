import { parseFaults } from './fault-list.ts'
import type { RunResult } from './run.ts'

/** A run as a mermaid chart over virtual time: the faults as bars, then what happened on each host. */
export function mermaid({ scenario, seed, peers, faults, work_began_ms: began, timeline }: RunResult): string {
  const lines = [
    'gantt',
    `  title ${plain(scenario)}, ${peers} peers, seed ${plain(seed)}`,
    '  dateFormat x',
    '  axisFormat %M:%S',
    '  section faults'
  ]
  for (const { kind, at, forMs, groups, amount } of parseFaults(faults)) {
    const who = groups.map((group) => group.join(' ')).join(' and ')
    const what = [kind, who, amount === 0 ? '' : String(amount)].filter(Boolean).join(' ')
    lines.push(`  ${plain(what)} :crit, ${began + at}, ${began + at + forMs}`)
  }
  lines.push('  section all')
  for (const { at, host, kind, text } of timeline) {
    if (host == null && kind !== 'fault') lines.push(milestone(text, at, kind === 'violation'))
  }
  // Copied hosts come after the cast.
  const hosts = Math.max(peers, ...timeline.map(({ host }) => (host ?? 0) + 1))
  for (let index = 0; index < hosts; index++) {
    lines.push(`  section host-${index}`)
    for (const { at, host, kind, text } of timeline) {
      if (host === index && kind !== 'apply') lines.push(milestone(text, at, false))
    }
  }
  return `${lines.join('\n')}\n`
}

const milestone = (text: string, at: number, critical: boolean): string =>
  `  ${plain(text)} :${critical ? 'crit, ' : ''}milestone, ${Math.round(at)}, 0ms`

/** Mermaid reads these characters as its own. */
const plain = (text: string): string => text.replaceAll(/[:;,#\r\n]+/g, ' ').trim()
