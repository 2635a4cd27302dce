import assert from 'node:assert/strict'
import * as fc from 'fast-check'
import { carryOut } from '../../../src/api/declare/carry-out.ts'
import { exportMesh } from '../../../src/api/declare/export.ts'
import { type Current, inverse, type MeshFile, type MeshService } from '../../../src/api/declare/mesh-file.ts'
import { planMesh } from '../../../src/api/declare/plan.ts'
import { settle } from '../../../src/api/declare/settle.ts'
import { InvalidRequestError } from '../../../src/errors.ts'
import { EDGE_A, EDGE_B, MemoryOperator } from '../memory-operator.ts'

const current = async (operator: MemoryOperator): Promise<Current> => ({
  services: await operator.listServices({}),
  routes: await operator.listRoutes(),
  peers: await operator.listPeers({ all: true })
})

const web: MeshService = { name: 'web', source_peer: 'edge-a', target_peer: 'edge-b' }

async function meshOf(...services: MeshService[]): Promise<MemoryOperator> {
  const operator = new MemoryOperator()
  await carryOut(operator, planMesh({ services }, await current(operator)))
  return operator
}

const steps = (file: MeshFile, state: Current, options?: { prune: boolean }): string[] =>
  planMesh(file, state, options).map(({ action, kind, service, before, after }) => {
    const fields = Object.entries(after ?? before ?? {}).filter(([, value]) => value != null)
    return `${action} ${kind} ${service} ${fields.map(([field, value]) => `${field}=${JSON.stringify(value)}`).join(' ')}`
  })

describe('api: the plan of a mesh file', () => {
  it('holds what differs and nothing else', async () => {
    const operator = await meshOf(
      { ...web, routes: [{ dest_cidr: '10.2.0.0/24' }, { dest_cidr: '10.3.0.0/24', priority: 7 }] },
      { ...web, name: 'old' }
    )
    const state = await current(operator)
    const routes = [{ dest_cidr: '10.2.0.0/24' }, { dest_cidr: '10.3.0.0/24', priority: 7 }]
    const cases: Array<[file: MeshService[], prune: boolean, steps: string[]]> = [
      [[{ ...web, routes }], false, []],
      [[{ ...web, transport_type: 'tcp', bandwidth_limit_mbps: 0, routes: routes.toReversed() }], false, []],
      [[{ ...web, source_peer: EDGE_A, target_peer: EDGE_B.slice(0, 20), routes }], false, []],
      [[{ ...web, routes: [...routes, routes[0]!] }], false, []],
      [
        [{ ...web, bandwidth_limit_mbps: 5, transport_type: 'kcp', routes }],
        false,
        ['update service web transport_type="kcp" bandwidth_limit_mbps=5']
      ],
      [
        [{ ...web, routes: [{ dest_cidr: '10.3.0.0/24' }, { source_cidr: '10.1.0.0/16' }] }],
        false,
        [
          'update route web dest_cidr="10.3.0.0/24" priority=100',
          'create route web source_cidr="10.1.0.0/16" priority=100',
          'delete route web dest_cidr="10.2.0.0/24" priority=100'
        ]
      ],
      [
        [
          { ...web, routes },
          { ...web, name: 'new', routes: [{ dest_cidr: 'FD00:0::/64' }] }
        ],
        false,
        ['create service new name="new" source_peer="edge-a" target_peer="edge-b" routes=[{"dest_cidr":"fd00::/64"}]']
      ],
      [
        [{ ...web, routes }],
        true,
        ['delete service old name="old" source_peer="edge-a" target_peer="edge-b" routes=[]']
      ]
    ]
    for (const [services, prune, expected] of cases) assert.deepEqual(steps({ services }, state, { prune }), expected)
  })

  it('refuses what cannot be, and says which service it is', async () => {
    const operator = await meshOf(web)
    await operator.createService({ source_peer_id: 'edge-a', target_peer_id: 'edge-b', name: 'twin' })
    const twin = [...operator.services.values()].find(({ name }) => name === 'twin')!
    const other = { ...twin, id: twin.id.replace(/.$/, (last) => (last === '0' ? '1' : '0')) }
    operator.services.set(other.id, other)
    const state = await current(operator)
    const refused = (services: MeshService[], code: string, message: RegExp): void => {
      assert.throws(
        () => planMesh({ services }, state),
        (error: Error & { code: string }) => {
          assert.equal(error.code, code, error.message)
          assert.match(error.message, message)
          return true
        }
      )
    }
    refused([{ ...web, target_peer: 'edge-c' }], 'target_peer_not_admitted', /^services\[0\] "web": peer "edge-c"/)
    refused([{ ...web, target_peer: 'nobody' }], 'peer_not_found', /"nobody"/)
    refused([{ ...web, source_peer: '12D3Koo' }], 'peer_not_found', /could mean 3 peers/)
    refused([{ ...web, source_peer: 'edge-b' }], 'invalid_request', /same peer/)
    refused(
      [{ ...web, source_peer: 'edge-b', target_peer: 'edge-a' }],
      'invalid_request',
      /source peer is .* cannot be/
    )
    refused([web, web], 'invalid_request', /^services\[1\] "web": the file says it twice/)
    refused([{ ...web, name: 'twin' }], 'invalid_request', /2 services have this name; add the id/)
    refused(
      [{ ...web, id: 'none' }],
      'service_not_found',
      /no service here has the id none; leave the id out to create it, under a name that no other service has$/
    )
    refused([{ ...web, fully_transparent: true }], 'transparent_requires_interface', /requires_interface/)
    const cidr = { dest_cidr: '10.2.0.1/24' }
    refused([{ ...web, routes: [{}, cidr] }], 'invalid_request', /^services\[0\] "web": routes\[0\]: a route needs/)
    refused([{ ...web, routes: [cidr] }], 'invalid_cidr', /did you mean 10\.2\.0\.0\/24/)
  })

  it('tells services of one name apart by id, and export writes it then', async () => {
    const operator = await meshOf(web)
    const [one] = operator.services.values()
    const other = { ...one!, id: one!.id.replace(/.$/, (last) => (last === '0' ? '1' : '0')) }
    operator.services.set(other.id, other)
    const file = exportMesh(await current(operator))
    assert.deepEqual(new Set(file.services.map(({ id }) => id)), new Set([one!.id, other.id]))
    assert.deepEqual(planMesh(file, await current(operator), { prune: true }), [])
    const change = { ...web, id: other.id, name: 'renamed' }
    assert.deepEqual(steps({ services: [change] }, await current(operator)), ['update service web name="renamed"'])
  })

  describe('of any mesh', () => {
    const route = fc.record(
      {
        source_cidr: fc.constantFrom(null, '10.1.0.0/16', '10.1.2.0/24'),
        dest_cidr: fc.constantFrom('10.2.0.0/24', '0.0.0.0/0', '10.3.0.0/16'),
        priority: fc.constantFrom(0, 100, 200)
      },
      { requiredKeys: ['dest_cidr'] }
    )
    const wildcard = fc.record({ priority: fc.constantFrom(1, 2) })
    const service = (name: string) =>
      fc.oneof(
        fc.record({
          ...same(name),
          transport_type: fc.constantFrom('tcp' as const, 'kcp' as const),
          bandwidth_limit_mbps: fc.constantFrom(0, 5),
          routes: fc.array(route, { maxLength: 4 })
        }),
        fc.record({
          ...same(name),
          requires_interface: fc.constant(true),
          desired_ipv4_cidr: fc.constantFrom(null, '192.0.2.7/24'),
          fully_transparent: fc.boolean(),
          routes: fc.array(fc.oneof(route, wildcard), { maxLength: 4 })
        })
      )
    const same = (name: string) => ({
      name: fc.constant(name),
      // Peers of a service cannot be changed, so they follow from its name.
      source_peer: fc.constant(name < 'c' ? 'edge-a' : 'edge-b'),
      target_peer: fc.constant(name < 'c' ? 'edge-b' : 'edge-a')
    })
    const mesh: fc.Arbitrary<MeshFile> = fc
      .subarray(['a', 'b', 'c', 'd'])
      .chain((names) => fc.tuple(...names.map(service)))
      .map((services) => ({ services }))

    it('applied once leaves nothing to do; exported, it says what was applied', async () => {
      await fc.assert(
        fc.asyncProperty(mesh, mesh, fc.boolean(), async (before, file, prune) => {
          const operator = await meshOf(...before.services)
          await carryOut(operator, planMesh(file, await current(operator), { prune }))
          assert.deepEqual(planMesh(file, await current(operator), { prune }), [])
          const exported = exportMesh(await current(operator))
          assert.deepEqual(planMesh(exported, await current(operator), { prune: true }), [])
          const names = new Set([...file.services, ...(prune ? [] : before.services)].map(({ name }) => name))
          assert.deepEqual(new Set(exported.services.map(({ name }) => name)), names)
          const copy = await meshOf(...exported.services)
          assert.deepEqual(exportMesh(await current(copy)), exported)
        }),
        { numRuns: 200 }
      )
    })

    it('is taken back to what was there, from wherever it stopped, and again without effect', async () => {
      await fc.assert(
        fc.asyncProperty(mesh, mesh, fc.integer({ min: 0, max: 12 }), async (before, file, writes) => {
          const operator = await meshOf(...before.services)
          const old = exportMesh(await current(operator))
          const changes = planMesh(file, await current(operator), { prune: true })
          const limited = failingAfter(operator, writes)
          await carryOut(limited, changes).catch((error: unknown) => assert.ok(error instanceof InvalidRequestError))
          const back = changes.map(inverse)
          await carryOut(operator, settle(back, await current(operator)))
          assert.deepEqual(exportMesh(await current(operator)), old)
          assert.deepEqual(settle(back, await current(operator)), [])
        }),
        { numRuns: 200 }
      )
    })
  })
})

/** The same operator, which refuses every write after so many. */
function failingAfter(operator: MemoryOperator, writes: number): MemoryOperator {
  let left = writes
  return new Proxy(operator, {
    get(target, name) {
      const method: unknown = Reflect.get(target, name)
      if (typeof method !== 'function') return method
      return async (...args: unknown[]) => {
        if (/^(create|update|delete|add)/.test(String(name)) && left-- <= 0) throw new InvalidRequestError('no more')
        return Reflect.apply(method, target, args) as unknown
      }
    }
  })
}
