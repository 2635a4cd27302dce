import swagger from '@fastify/swagger'
import { Type } from 'typebox'
import { idempotencyKeyCharsMax } from './limits.ts'
import { ErrorSchema, ref, strict } from './schemas/common.ts'
import { activityComponents } from './schemas/activity.ts'
import { connectionsComponents } from './schemas/connections.ts'
import { diagnosticsComponents } from './schemas/diagnostics.ts'
import { actorComponents } from './schemas/actor.ts'
import { agentComponents } from './schemas/agent.ts'
import { declareComponents } from './schemas/declare.ts'
import { clusterComponents } from './schemas/cluster.ts'
import { flowComponents } from './schemas/flow.ts'
import { historyComponents } from './schemas/history.ts'
import { doctorComponents } from './schemas/doctor.ts'
import { LicenseSchema } from './schemas/license.ts'
import { peerComponents } from './schemas/peer.ts'
import { routeComponents } from './schemas/route.ts'
import { serviceComponents } from './schemas/service.ts'
import { waitComponents } from './schemas/wait.ts'
import { tokenComponents } from './schemas/token.ts'
import type { App } from './type-provider.ts'

const PostHeadersSchema = Type.Object({
  'idempotency-key': Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: idempotencyKeyCharsMax,
      description: 'a repetition with the same key and body gets the answer of the first, and nothing is made twice'
    })
  )
})

const TAGS = ['cluster', 'peers', 'services', 'routes', 'mesh', 'tokens', 'license', 'actors', 'events', 'agent']

/** OpenAPI 3.1 from the very schemas that validate. To be called before any route is declared. */
export async function describeApi(app: App, version: string): Promise<void> {
  const components = [
    ErrorSchema,
    ...waitComponents,
    ...serviceComponents,
    ...flowComponents,
    ...routeComponents,
    ...peerComponents,
    ...clusterComponents,
    ...historyComponents,
    ...agentComponents,
    ...actorComponents,
    ...diagnosticsComponents,
    ...activityComponents,
    ...connectionsComponents,
    ...declareComponents,
    ...tokenComponents,
    LicenseSchema,
    ...doctorComponents
  ]
  for (const schema of components) app.addSchema(schema)

  app.addHook('onRoute', (route) => {
    route.schema ??= {}
    const answers = (route.schema.response ?? {}) as Record<string, unknown>
    route.schema.response = { ...answers, default: { ...ref(ErrorSchema), description: 'Any failure' } }
    if (route.method === 'POST') route.schema.headers ??= PostHeadersSchema
    // Unknown query parameters are refused even where none is known. Probes and scrapers may add what they like.
    if (route.url.startsWith('/v1/')) route.schema.querystring ??= strict({})
  })

  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'arctic',
        version,
        description:
          'The API of an arctic agent: the same on its unix socket and on its TCP address. Times are ISO 8601 in UTC, ' +
          'ids of services and routes are ULIDs, a peer is named by id, unique id prefix or name.'
      },
      components: {
        securitySchemes: {
          token: {
            type: 'http',
            scheme: 'bearer',
            description: 'on TCP only; beside each operation stand the scopes that it needs, none where any token does'
          }
        }
      },
      tags: TAGS.map((name) => ({ name }))
    },
    refResolver: {
      buildLocalReference: ({ $id }, _base, _fragment, index) => (typeof $id === 'string' ? $id : `schema-${index}`)
    }
  })
}
