import type { HistoryObject } from '../../crdt/history.ts'
import type { View } from '../../crdt/view.ts'
import { clusterView, type OperatorDeps } from './deps.ts'
import type { UndoneJson } from './history-json.ts'
import { changeJson } from './history.ts'
import type { Concerned } from './wait.ts'

/** Takes a change back, by a change of its own; `agree` is told what that would be about, and may throw. */
export async function undoChange(
  deps: OperatorDeps,
  { change }: { change: string },
  agree: (kinds: ReadonlySet<HistoryObject['kind']>) => void = () => {}
): Promise<UndoneJson> {
  clusterView(deps)
  const agreed = (objects: readonly HistoryObject[]): void => agree(new Set(objects.map(({ kind }) => kind)))
  const { undone, change: entry } = await deps.replica.undo(change, agreed)
  deps.reconciler.flush()
  const view = deps.replica.view()
  return { undone, change: changeJson(entry, view), services: concerned(entry.objects, view) }
}

/** The services that something was done to, with their ends, of which no view tells once they are gone. */
function concerned(objects: readonly HistoryObject[], view: View): Concerned[] {
  const found = new Map<string, Concerned>()
  for (const { kind, id, fields } of objects) {
    const said = (field: string): string => String(fields[field]?.after ?? fields[field]?.before ?? '')
    const service = kind === 'service' ? id : said('service_id') || view.routes.get(id)?.service_id
    if (service == null || found.has(service)) continue
    const { source_peer_id = said('source_peer_id'), target_peer_id = said('target_peer_id') } =
      view.services.get(service) ?? {}
    if (source_peer_id !== '') found.set(service, { id: service, source_peer_id, target_peer_id })
  }
  return [...found.values()]
}
