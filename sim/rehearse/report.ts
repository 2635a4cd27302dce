import type { Fate, Moved, Rehearsal } from './rehearse.ts'

const shownMax = 20

/** What a person decides by. */
export function rehearsalText(rehearsal: Rehearsal, skipped: number): string {
  const { changes, flows, same, moved, dropped, appeared, unexplained } = rehearsal
  const { networks_unknown, connections_unknown, unreachable, violations } = rehearsal
  const lines = [
    `${changes.length} ${changes.length === 1 ? 'change' : 'changes'}, ${flows} recorded flows: ` +
      `${same} stay as they are, ${moved.length} move, ${dropped.length} drop, ${appeared.length} appear`
  ]
  for (const { action, kind, service } of changes)
    lines.push(`  ${action} ${kind} ${kind === 'route' ? 'of ' : ''}${service}`)
  lines.push(...section('drop', dropped), ...section('move', moved), ...section('appear', appeared))
  if (unexplained > 0)
    lines.push(`  ${unexplained} flows were carried by another service than the state explains: it is newer or older`)
  if (skipped > 0) lines.push(`  ${skipped} records are no flows of this cluster and were left out`)
  if (networks_unknown.length > 0)
    lines.push(
      `  networks not known, or not all of them: ${networks_unknown.join(', ')}; a broad route may take less there`
    )
  if (connections_unknown.length > 0)
    lines.push(`  what goes through their hosts is not known, or not wholly: ${connections_unknown.join(', ')}`)
  if (unreachable.length > 0) lines.push(`  not reachable now, so nothing is carried to: ${unreachable.join(', ')}`)
  for (const { checker, message } of violations) lines.push(`  ${checker}: ${message}`)
  return `${lines.join('\n')}\n`
}

function section(what: string, flows: readonly Moved[]): string[] {
  const lines = flows
    .slice(0, shownMax)
    .map(
      ({ source, dest, before, after }) => `  ${what}: ${source} to ${dest}: ${fateText(before)} -> ${fateText(after)}`
    )
  return flows.length > shownMax ? [...lines, `  ${what}: and ${flows.length - shownMax} more, see -j`] : lines
}

const fateText = ({ fate, service, target }: Fate): string =>
  fate === 'untouched' ? 'left alone' : `${fate === 'refused' ? 'refused, ' : ''}${service} to ${target ?? 'nobody'}`
