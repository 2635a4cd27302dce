import { append } from '../../../append.ts'
import type { ActorDetailJson, ActorSentJson, ActorUpdateJson } from '../../../actors/operator/actor-json.ts'
import type { ActorJson } from '../../../actors/operator/operator.ts'
import { state } from '../humane.ts'
import { type Cell, record, table, visible } from '../table.ts'

export function actorTreeText(root: ActorJson, colours: boolean): string {
  const rows: Cell[][] = []
  // A stack of its own: a tree from another version may be deeper than the call stack.
  const waiting: Array<{ actor: ActorJson; lead: string; branch: string }> = [{ actor: root, lead: '', branch: '' }]
  for (let next = waiting.pop(); next != null; next = waiting.pop()) {
    const { actor, lead, branch } = next
    rows.push([`${lead}${branch}${actor.path}`, state(actor.state ?? '-'), state(actor.status)])
    const below = branch === '' ? lead : `${lead}${branch === '└─ ' ? '   ' : '│  '}`
    const children = actor.children.map((child, index) => ({
      actor: child,
      lead: below,
      branch: index === actor.children.length - 1 ? '└─ ' : '├─ '
    }))
    append(waiting, children.reverse())
  }
  return table(['ACTOR', 'STATE', 'STATUS'], rows, colours)
}

export function actorText(actor: ActorDetailJson, colours: boolean): string {
  const { context, takes, history, children } = actor
  const head = record(
    [
      ['actor', actor.path],
      ['state', state(actor.state ?? '-')],
      ['status', state(actor.status)],
      ['on peer', actor.peer_id],
      ['children', String(children.length)],
      ...Object.entries(context).map(
        ([key, value]) => [`context.${key}`, typeof value === 'string' ? value : JSON.stringify(value)] as const
      )
    ],
    colours
  )
  const events = table(
    ['TAKES', 'FIELDS', 'NOW'],
    takes.map(({ type, fields, now }) => [
      type,
      Object.entries(fields)
        .map(([name, kind]) => `${name}: ${kind}`)
        .join(', ') || '-',
      now ? 'yes' : { text: 'no', colour: 'dim' }
    ]),
    colours
  )
  const steps = table(['AT', 'EVENT', 'FROM', 'TO', 'WHY'], history.map(stepCells), colours)
  return [head, ...(takes.length > 0 ? [events] : []), ...(history.length > 0 ? [steps] : [])].join('\n')
}

export function sentText({ path, event, from, to, caused }: ActorSentJson): string {
  const change = from === to ? `stays ${to ?? '-'}` : `${from ?? '-'} → ${to ?? '-'}`
  const others = caused.filter((step) => step.path !== path).map((step) => `  ${updateText(step)}`)
  return [`${visible(`${path} took ${event}: ${change}`)}\n`, ...others].join('')
}

/** One line of `actors watch`. */
export function updateText({ at, path, event, reason, from, to, status, by }: ActorUpdateJson): string {
  const change = event == null || from === to ? (to ?? '-') : `${from ?? '-'} → ${to ?? '-'}`
  const why = [event ?? 'now', ...(reason == null ? [] : [`(${reason})`]), ...(by == null ? [] : [`by ${by}`])]
  const ended = status === 'active' ? '' : ` [${status}]`
  return `${visible(`${at} ${path} ${change}${ended}  ${why.join(' ')}`)}\n`
}

const stepCells = ({ at, event, from, to, reason, status, by }: ActorDetailJson['history'][number]): Cell[] => [
  at,
  event,
  from ?? '-',
  status === 'active' ? (to ?? '-') : state(status),
  [reason ?? '', by == null ? '' : `by ${by}`].filter((part) => part !== '').join(' ') || '-'
]
