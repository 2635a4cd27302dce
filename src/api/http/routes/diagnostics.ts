import type { Operator } from '../../../actors/operator/operator.ts'
import { ref } from '../schemas/common.ts'
import { DiagnosticsSchema } from '../schemas/diagnostics.ts'
import type { App } from '../type-provider.ts'

/** What only a bug report needs. */
export function diagnosticsRoutes(app: App, operator: Operator): void {
  app.get(
    '/v1/diagnostics',
    {
      config: { demand: { scopes: ['admin'] } },
      schema: {
        operationId: 'diagnostics',
        summary: 'Versions, settings, last log lines, kernel state and the flight recorder, without secrets',
        tags: ['agent'],
        response: { 200: ref(DiagnosticsSchema) }
      }
    },
    async () => operator.diagnostics()
  )
}
