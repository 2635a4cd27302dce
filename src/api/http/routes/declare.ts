import type { Applier } from '../../declare/applier.ts'
import { meshBodyBytesMax } from '../../declare/limits.ts'
import { EmptySchema, ref } from '../schemas/common.ts'
import { AppliedSchema, ApplyInputSchema, ConfirmedSchema, MeshSchema, PendingSchema } from '../schemas/declare.ts'
import type { App } from '../type-provider.ts'

/** Services and routes as a whole, by name. */
export function declareRoutes(app: App, applier: Applier): void {
  const tags = ['mesh']

  app.get(
    '/v1/export',
    {
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
      bodyLimit: meshBodyBytesMax,
      schema: {
        operationId: 'applyMesh',
        summary: 'Bring services and routes to what is said, all or nothing; or answer what that would change',
        tags,
        body: ApplyInputSchema,
        response: { 200: ref(AppliedSchema) }
      }
    },
    async ({ body: { services, prune, dry_run, confirm_within_seconds } }) =>
      applier.apply({ services }, { prune, dryRun: dry_run, confirmWithinSeconds: confirm_within_seconds })
  )

  app.get(
    '/v1/apply',
    {
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
