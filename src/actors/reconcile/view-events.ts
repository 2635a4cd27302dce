import type { ViewDiff } from '../../crdt/diff.ts'
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
  for (const { id, name } of changes.members.removed) feed.emit('peer.removed', { id, name })
  for (const kind of ['service', 'route'] as const) {
    const { added, changed, removed } = changes[`${kind}s`]
    for (const record of added) feed.emit(`${kind}.created`, { ...record })
    for (const { after: record } of changed) feed.emit(`${kind}.updated`, { ...record })
    for (const record of removed) feed.emit(`${kind}.deleted`, { ...record })
  }
}
