import type { OperatorDeps } from './deps.ts'
import type { ClusterJson } from './operator.ts'

/** Records that this agent fails on, each with the change that made it what it is. */
export async function leftOut({
  replica,
  reconciler
}: Pick<OperatorDeps, 'replica' | 'reconciler'>): Promise<ClusterJson['rejected_changes']> {
  return Promise.all(
    reconciler.quarantine.held().map(async ({ kind, id, error }) => {
      const changes = await replica.history({ object: id })
      const last = changes.find(({ valid, objects }) => valid && objects.some((object) => object.id === id))
      const what = { services: 'service', routes: 'route', members: 'peer' }[kind]
      const reason = `${what} ${id}: this agent fails on it and leaves it out until it changes: ${error}`
      return { hash: last?.id ?? '', author: last?.author ?? '', reason }
    })
  )
}
