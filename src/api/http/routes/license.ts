import type { Operator } from '../../../actors/operator/operator.ts'
import { ref } from '../schemas/common.ts'
import { LicenseSchema } from '../schemas/license.ts'
import type { App } from '../type-provider.ts'

export function licenseRoutes(app: App, operator: Operator): void {
  app.get(
    '/v1/license',
    {
      schema: {
        operationId: 'getLicense',
        summary: 'Edition, limits, usage and expiry; what is wrong with the licence, if anything',
        tags: ['license'],
        response: { 200: ref(LicenseSchema) }
      }
    },
    async () => operator.license()
  )
}
