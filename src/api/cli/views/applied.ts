import type { PeerRulesJson } from '../../../actors/operator/operator.ts'
import type { Applied } from '../../declare/applier.ts'
import type { Change } from '../../declare/mesh-file.ts'
import type { Colour } from '../table.ts'
import { paint, table, visible } from '../table.ts'

const SIGNS: Record<Change['action'], [sign: string, colour: Colour]> = {
  create: ['+', 'green'],
  update: ['~', 'yellow'],
  delete: ['-', 'red']
}

/** The steps, one per line, and what they come to. */
export function appliedText({ dry_run, changes, pending, rules }: Applied, colours: boolean): string {
  if (changes.length === 0) return 'nothing to change\n'
  const rows = changes.map((change) => {
    const [sign, colour] = SIGNS[change.action]
    return [{ text: sign, colour }, change.kind, change.service, describe(change)]
  })
  const counts = (['create', 'update', 'delete'] as const).map((action) => {
    const count = changes.filter((change) => change.action === action).length
    return dry_run ? `${count} to ${action}` : `${count} ${action}d`
  })
  const sum = `${dry_run ? 'dry run' : 'done'}: ${counts.join(', ')}`
  const wait =
    dry_run || pending == null ? '' : `\ntaken back at ${pending.expires_at} unless you run "arctic confirm" before`
  const steps = table(['', 'KIND', 'SERVICE', 'WHAT'], rows, colours)
  return `${steps}\n${(rules ?? []).map((peer) => `${rulesText(peer, colours)}\n`).join('')}${sum}${wait}\n`
}

/** One peer's lines of nft, those that go before those that come. */
function rulesText({ peer_id, name, added, removed, more, problem }: PeerRulesJson, colours: boolean): string {
  const title = `rules on ${name ?? peer_id}:`
  if (problem != null) return `${title} not known, ${visible(problem)}\n`
  const signed = (sign: '+' | '-', colour: Colour, line: string): string => {
    const text = `${sign}  ${visible(line)}`
    return colours ? paint(text, colour) : text
  }
  const lines = [
    ...removed.map((line) => signed('-', 'red', line)),
    ...added.map((line) => signed('+', 'green', line)),
    ...(more > 0 ? [`   and ${more} more lines`] : [])
  ]
  return lines.length === 0 ? `${title} no change\n` : `${title}\n${lines.join('\n')}\n`
}

function describe({ action, before, after }: Change): string {
  if (action !== 'update') return fields(after ?? before ?? {})
  const old = new Map(Object.entries(before))
  return Object.entries(after)
    .filter(([field, value]) => old.get(field) !== value)
    .map(([field, value]) => `${field}: ${text(old.get(field))} → ${text(value)}`)
    .concat('dest_cidr' in after ? [fields({ source_cidr: after.source_cidr, dest_cidr: after.dest_cidr })] : [])
    .join(', ')
}

const fields = (object: object): string =>
  Object.entries(object)
    .filter(([field, value]) => field !== 'name' && value != null)
    .map(([field, value]) => (Array.isArray(value) ? `${value.length} ${field}` : `${field}: ${text(value)}`))
    .join(', ')

const text = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value ?? null))
