import type { Operator } from '../../actors/operator/operator.ts'
import { routesPerRequestMax } from '../../crdt/limits.ts'
import { ArcticError } from '../../errors.ts'
import { stepsAtOnceMax } from './limits.ts'
import type { Change, MeshRoute, RouteChange, ServiceChange } from './mesh-file.ts'

/**
 * Takes the steps. What takes over comes before what it takes over from, so that a route that moves from one service to
 * another leaves no gap:
 * 1. of each service: routes that it could not keep (without CIDRs, when it loses its interface), the service itself,
 *    new and changed routes; several services side by side;
 * 2. when all of these are in force here, routes and services that go.
 * Rejects with the first failure, once nothing is at work any more; the steps before it have been taken.
 */
export async function carryOut(operator: Operator, changes: readonly Change[]): Promise<void> {
  const byService = Map.groupBy(changes, (change) => change.service_id ?? `name ${change.service}`)
  await forEach([...byService.values()], (steps) => bringUp(operator, steps))
  const ending = changes.filter(({ action }) => action === 'delete')
  const isService = (change: Change): boolean => change.kind === 'service'
  await forEach(
    ending.filter((change) => !isService(change)),
    (change) => remove(operator, change)
  )
  await forEach(ending.filter(isService), (change) => remove(operator, change))
}

async function bringUp(operator: Operator, steps: readonly Change[]): Promise<void> {
  const routes = steps.filter((step): step is RouteChange => step.kind === 'route')
  const service = steps.find((step): step is ServiceChange => step.kind === 'service')
  let id = steps[0]?.service_id ?? null
  const added = routes.flatMap((step) => (step.action === 'create' ? [step.after] : []))
  if (service?.action === 'create') {
    const { source_peer, target_peer, routes: own = [], id: _, ...fields } = service.after
    const peers = { source_peer_id: source_peer, target_peer_id: target_peer }
    id = (await operator.createService({ ...fields, ...peers })).id
    await addRoutes(operator, id, own)
  }
  if (service?.action === 'update' && id != null) {
    for (const step of routes) if (step.action === 'delete' && takesAll(step.before)) await remove(operator, step)
    await operator.updateService(id, service.after)
  }
  if (id == null) return
  await addRoutes(operator, id, added)
  for (const step of routes) {
    if (step.action !== 'update' || step.route_id == null) continue
    await operator.updateRoute(id, step.route_id, { priority: step.after.priority })
  }
}

async function addRoutes(operator: Operator, id: string, routes: readonly MeshRoute[]): Promise<void> {
  for (let at = 0; at < routes.length; at += routesPerRequestMax) {
    await operator.addRoutes(id, routes.slice(at, at + routesPerRequestMax))
  }
}

const takesAll = ({ source_cidr, dest_cidr }: MeshRoute): boolean => source_cidr == null && dest_cidr == null

/** What is gone already is what was wanted. */
async function remove(operator: Operator, { kind, service_id, route_id }: Change): Promise<void> {
  if (service_id == null) return
  try {
    if (kind === 'service') await operator.deleteService(service_id)
    else if (route_id != null) await operator.deleteRoute(service_id, route_id)
  } catch (error) {
    if (!(error instanceof ArcticError) || error.status !== 404) throw error
  }
}

/** Side by side, so that what is written at once shares a flush to the disk. After a failure nothing new is begun. */
async function forEach<T>(items: readonly T[], task: (item: T) => Promise<void>): Promise<void> {
  const queue = items.values()
  let failure: { error: unknown } | null = null
  const work = async (): Promise<void> => {
    for (const item of queue) {
      if (failure != null) return
      try {
        await task(item)
      } catch (error) {
        failure ??= { error }
      }
    }
  }
  await Promise.all(Array.from({ length: stepsAtOnceMax }, work))
  // oxlint-disable-next-line typescript/no-unnecessary-condition
  if (failure != null) throw (failure as { error: unknown }).error
}
