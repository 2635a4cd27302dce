import type { ActorJson } from '../../../actors/operator/operator.ts'
import { state } from '../humane.ts'
import { type Cell, table } from '../table.ts'

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
    waiting.push(...children.reverse())
  }
  return table(['ACTOR', 'STATE', 'STATUS'], rows, colours)
}
