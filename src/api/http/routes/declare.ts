import type { Operator, ServiceJson } from '../../../actors/operator/operator.ts'
import type { Applier } from '../../declare/applier.ts'
import { meshBodyBytesMax } from '../../declare/limits.ts'
import type { Change } from '../../declare/mesh-file.ts'
import { EmptySchema, ref } from '../schemas/common.ts'
import { AppliedSchema, ApplyInputSchema, ConfirmedSchema, MeshSchema, PendingSchema } from '../schemas/declare.ts'
import { WaitQuerySchema } from '../schemas/wait.ts'
import type { Demand } from '../scopes.ts'
import type { App } from '../type-provider.ts'
import { Wait } from '../wait.ts'

const WRITES: Demand = { scopes: ['services.write', 'routes.write'] }

/** Services and routes as a whole, by name. */
export function declareRoutes(app: App, applier: Applier, operator: Operator): void {
  const tags = ['mesh']

  app.get(
    '/v1/export',
    {
      config: { demand: { scopes: ['services.read', 'routes.read', 'peers.read'] } },
      schema: {
        operationId: 'exportMesh',
        summary: 'All services and routes in the form that apply takes',
        tags,
        response: { 200: ref(MeshSchema) }
      }
    },
    async () => applier.export()
  )

  app.post(
    '/v1/apply',
    {
      config: { demand: WRITES },
      bodyLimit: meshBodyBytesMax,
      schema: {
        operationId: 'applyMesh',
        summary: 'Bring services and routes to what is said, all or nothing; or answer what that would change',
        tags,
        body: ApplyInputSchema,
        querystring: WaitQuerySchema,
        response: { 200: ref(AppliedSchema) }
      }
    },
    async ({ body: { services, prune, dry_run, confirm_within_seconds }, query }, reply) => {
      const wait = new Wait(operator, reply, query.wait)
      const options = { prune, dryRun: dry_run, confirmWithinSeconds: confirm_within_seconds }
      if (!wait.asked || dry_run === true) return applier.apply({ services }, options)
      // The ends of what it deletes are known before, of what it makes after.
      const before = await operator.listServices({})
      const applied = await applier.apply({ services }, options)
      return wait.in(applied, {
        of: async () => changedServices(applied.changes, before, await operator.listServices({})),
        now: async () => applied
      })
    }
  )

  app.get(
    '/v1/apply',
    {
      config: { demand: { scopes: ['services.read'] } },
      schema: {
        operationId: 'pendingApply',
        summary: 'Until when an apply waits for its confirmation; null when none does',
        tags,
        response: { 200: ref(PendingSchema) }
      }
    },
    async () => ({ expires_at: applier.pending?.expires_at ?? null })
  )

  app.post(
    '/v1/apply/confirm',
    {
      config: { demand: WRITES },
      schema: {
        operationId: 'confirmApply',
        summary: 'Keep what waits for a confirmation',
        tags,
        body: EmptySchema,
        response: { 200: ref(ConfirmedSchema) }
      }
    },
    async () => applier.confirm()
  )
}

/** The services that steps concern; those that were just made go by name, since their steps were planned without an id. */
function changedServices(
  changes: readonly Change[],
  before: readonly ServiceJson[],
  after: readonly ServiceJson[]
): ServiceJson[] {
  const ids = new Set(changes.map(({ service_id }) => service_id))
  const made = new Set(changes.flatMap(({ service, service_id }) => (service_id == null ? [service] : [])))
  const known = new Map([...before, ...after].map((service) => [service.id, service]))
  return [...known.values()].filter(({ id, name }) => ids.has(id) || made.has(name))
}
