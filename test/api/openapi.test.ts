import assert from 'node:assert/strict'
import { Compile } from 'typebox/schema'
import { ApiHost } from './api-host.ts'
import { EDGE_B } from './memory-operator.ts'

interface Operation {
  operationId?: string
  parameters?: Array<{ name: string; in: string; required?: boolean }>
  requestBody?: { content: Record<string, { schema: object }> }
  responses: Record<string, { content?: Record<string, { schema?: object }> }>
}

const byText = (a = '', b = ''): number => (a < b ? -1 : a > b ? 1 : 0)

describe('api: openapi.json', function () {
  this.timeout(20_000)
  let host: ApiHost
  let document: {
    openapi: string
    paths: Record<string, Record<string, Operation>>
    components: { schemas: Record<string, object> }
  }
  before(async () => {
    host = await ApiHost.start()
    document = (await host.ask('GET', '/v1/openapi.json')).json
  })
  after(() => host.stop())

  it('is OpenAPI 3.1 whose references all lead somewhere', () => {
    assert.equal(document.openapi, '3.1.0')
    const references = [...JSON.stringify(document).matchAll(/"\$ref":"([^"]+)"/g)].map(([, reference]) => reference!)
    assert.ok(references.length > 30)
    for (const reference of references) {
      const name = /^#\/components\/schemas\/([A-Za-z]+)$/.exec(reference)?.[1]
      assert.ok(name != null && name in document.components.schemas, reference)
    }
    const ids = operations().map(({ operation }) => operation.operationId)
    assert.equal(new Set(ids).size, ids.length)
    for (const { path, operation } of operations()) {
      const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name)
      const declared = (operation.parameters ?? []).filter((one) => one.in === 'path').map(({ name }) => name)
      assert.deepEqual(declared.toSorted(byText), inPath.toSorted(byText), path)
    }
  })

  it('names every path of the contract that exists', () => {
    const named = operations().map(({ method, path }) => `${method.toUpperCase()} ${path}`)
    for (const path of [
      'POST /v1/services',
      'GET /v1/services',
      'GET /v1/services/{id}',
      'GET /v1/services/{id}/flows',
      'PUT /v1/services/{id}',
      'DELETE /v1/services/{id}',
      'POST /v1/services/{id}/routes',
      'GET /v1/services/{id}/routes',
      'PUT /v1/services/{id}/routes/{route_id}',
      'DELETE /v1/services/{id}/routes/{route_id}',
      'GET /v1/routes/test',
      'GET /v1/peers',
      'GET /v1/peers/{id}',
      'PUT /v1/peers/{id}',
      'DELETE /v1/peers/{id}',
      'POST /v1/cluster/init',
      'POST /v1/cluster/invites',
      'POST /v1/cluster/join',
      'POST /v1/cluster/leave',
      'POST /v1/cluster/sync',
      'GET /v1/cluster',
      'GET /v1/cluster/history',
      'GET /v1/cluster/history/verify',
      'POST /v1/cluster/undo',
      'GET /v1/activity',
      'GET /v1/connections',
      'GET /v1/actors',
      'GET /v1/actors/{path}',
      'POST /v1/actors/{path}/events',
      'POST /v1/tokens',
      'GET /v1/tokens',
      'DELETE /v1/tokens/{id}',
      'PUT /v1/cluster',
      'GET /v1/license',
      'GET /v1/doctor',
      'GET /v1/events',
      'GET /v1/openapi.json',
      'GET /healthz',
      'GET /readyz',
      'GET /metrics'
    ]) {
      assert.ok(named.includes(path), path)
    }
  })

  it('describes what every operation really answers', async () => {
    const { id } = (await host.ask('POST', '/v1/services', { target_peer_id: 'edge-b' })).json
    const [route] = (await host.ask('POST', `/v1/services/${id}/routes`, { routes: [{ dest_cidr: '10.2.0.0/24' }] }))
      .json
    const token = (await host.ask('POST', '/v1/tokens', { scopes: ['admin'] })).json
    const bodies: Record<string, unknown> = {
      updateCluster: { policy: { max_services: 1000 } },
      createToken: { scopes: ['peers.read', 'services.write'] },
      createService: { target_peer_id: 'edge-b', name: 'two' },
      updateService: { name: 'three' },
      addRoutes: { routes: [{ dest_cidr: '10.3.0.0/24' }] },
      updateRoute: { priority: 1 },
      joinCluster: { token: 'x' },
      undoChange: { change: '0' },
      sendActor: { type: 'service.programmed' }
    }
    const queries: Record<string, string> = { testRoute: '?source=10.1.0.2&dest=10.2.0.2&trace=true' }
    // Deletions later, so that the ids live until then; and the end of it all at the end.
    const rank = ({ method, operation }: ReturnType<typeof operations>[number]): number =>
      operation.operationId === 'leaveCluster' ? 2 : method === 'delete' ? 1 : 0
    const of = (wanted: number): ReturnType<typeof operations> => operations().filter((one) => rank(one) === wanted)
    for (const { method, path, operation } of [...of(0), ...of(1).reverse(), ...of(2)]) {
      const name = operation.operationId ?? ''
      if (name === 'events' || name === 'watchActors') continue
      const own = path.startsWith('/v1/peers') ? EDGE_B : path.startsWith('/v1/tokens') ? token.id : id
      const url =
        path.replace('{id}', own).replace('{route_id}', route.id).replace('{path}', `service:${id}`) +
        (queries[name] ?? '')
      const answer = await host.ask(
        method.toUpperCase(),
        url,
        bodies[name] ?? (operation.requestBody == null ? undefined : {})
      )
      const described = operation.responses[String(answer.status)] ?? operation.responses['default']
      assert.ok(described != null && answer.status < 500, `${name} answered ${answer.status}: ${answer.text}`)
      const schema = described.content?.['application/json']?.schema
      if (schema == null) continue
      const validator = Compile({ ...schema, components: document.components })
      const [valid, errors] = validator.Errors(answer.json)
      assert.ok(valid, `${name}: ${JSON.stringify(errors)}\n${answer.text}`)
      assert.equal(validator.Check(7), false, `the schema of ${name} refuses something`)
    }
    assert.deepEqual(host.errors, [])
  })

  const operations = (): Array<{ path: string; method: string; operation: Operation }> =>
    Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => ({ path, method, operation }))
    )
})
