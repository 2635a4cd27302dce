import { equalRecords, type ViewDiff } from '../../crdt/diff.ts'
import type { View } from '../../crdt/view.ts'
import type { EventFeed } from '../event-feed.ts'

/** Tells the feed what changed between two views: records as they are now, or as they were when they are gone. */
export function tellViewChanges(feed: EventFeed, before: View, after: View, changes: ViewDiff): void {
  if (before.cluster == null && after.cluster != null) feed.emit('cluster.joined', { ...after.cluster })
  if (before.cluster != null && after.cluster == null) feed.emit('cluster.left', { ...before.cluster })
  for (const { id, role, name } of changes.members.added) feed.emit('peer.admitted', { id, role, name })
  for (const { id, after: member } of changes.members.changed) {
    feed.emit('peer.updated', { id, role: member.role, name: member.name })
  }
  for (const { id, name } of changes.members.removed) {
    feed.emit('peer.removed', { id, name, how: after.departed?.get(id)?.how ?? null })
  }
  for (const { id, name } of changes.tokens.added) feed.emit('token.created', { id, name })
  for (const { id, name } of changes.tokens.removed) feed.emit('token.deleted', { id, name })
  if (before.cluster != null && after.cluster != null && !equalRecords(before.policy, after.policy)) {
    feed.emit('cluster.updated', { ...after.cluster, policy: after.policy })
  }
  for (const kind of ['service', 'route'] as const) {
    const { added, changed, removed } = changes[`${kind}s`]
    for (const record of added) feed.emit(`${kind}.created`, { ...record })
    for (const { after: record } of changed) feed.emit(`${kind}.updated`, { ...record })
    for (const record of removed) feed.emit(`${kind}.deleted`, { ...record })
  }
}
