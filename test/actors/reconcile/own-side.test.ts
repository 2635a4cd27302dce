import assert from 'node:assert/strict'
import * as fc from 'fast-check'
import { appliedDifferences } from '../../../src/actors/reconcile/applied.ts'
import { desiredFor } from '../../../src/actors/reconcile/desired.ts'
import { OwnSide } from '../../../src/actors/reconcile/own-side.ts'
import { diff } from '../../../src/crdt/diff.ts'
import type { Member, View } from '../../../src/crdt/view.ts'
import type { RouteRecord, ServiceRecord } from '../../../src/crdt/schema.ts'
import type { AppliedService, AppliedState } from '../../../src/dataplane/desired.ts'
import { member, peerId, peerRecord, route, service, viewOf } from '../fakes/records.ts'

const NAMES = ['a', 'b', 'c']

/** What may happen to a cluster, in any order. */
const steps = fc.array(
  fc.oneof(
    fc.record({
      do: fc.constant('service' as const),
      n: fc.nat(6),
      ends: fc.shuffledSubarray(NAMES, { minLength: 2, maxLength: 2 }),
      mbps: fc.nat(2)
    }),
    fc.record({ do: fc.constant('drop' as const), n: fc.nat(6) }),
    fc.record({
      do: fc.constant('route' as const),
      n: fc.integer({ min: 100, max: 106 }),
      of: fc.nat(6),
      priority: fc.nat(2)
    }),
    fc.record({ do: fc.constant('unroute' as const), n: fc.integer({ min: 100, max: 106 }) }),
    fc.record({
      do: fc.constant('member' as const),
      name: fc.constantFrom(...NAMES),
      record: fc.boolean(),
      version: fc.nat(1)
    }),
    fc.record({ do: fc.constant('leave' as const), name: fc.constantFrom(...NAMES) })
  ),
  { maxLength: 40 }
)

describe("this host's side of the view", () => {
  it('is what the whole view asks for, after any run of changes', () => {
    fc.assert(
      fc.property(steps, fc.constantFrom(...NAMES), (run, name) => {
        const self = peerId(name)
        const own = new OwnSide(self)
        const members = new Map<string, Member>(NAMES.map((one) => [peerId(one), member(one, peerRecord(one))]))
        const services = new Map<string, ServiceRecord>()
        const routes = new Map<string, RouteRecord>()
        let before: View = viewOf([], [], [])
        const look = (): void => {
          const view = viewOf(
            [...members.values()],
            [...services.values()],
            [...routes.values()].filter((one) => services.has(one.service_id))
          )
          const told = own.desired
          const touched = own.update(view, diff(before, view))
          const wanted = desiredFor(self, view)
          assert.deepEqual(own.desired, wanted)
          if (told != null && JSON.stringify(told) === JSON.stringify(wanted))
            assert.equal(own.desired, told, 'no news')
          const mine = [...wanted.outbound, ...wanted.inbound].map(({ id }) => id)
          assert.deepEqual([...own.ids()].sort(), mine.sort())
          assert.deepEqual(
            [...own.others().keys()].sort(),
            [
              ...new Set([...wanted.outbound.map((s) => s.targetPeer), ...wanted.inbound.map((s) => s.sourcePeer)])
            ].sort()
          )
          for (const { id, spec } of wanted.outbound) {
            if (told?.outbound.find((one) => one.id === id)?.spec !== spec) assert.ok(touched.has(id))
          }
          before = view
        }
        look()
        for (const step of run) {
          if (step.do === 'service') {
            const made = service(step.n + 1, step.ends[0]!, step.ends[1]!)
            services.set(made.id, { ...made, bandwidth_limit_mbps: step.mbps })
          } else if (step.do === 'drop') services.delete(service(step.n + 1, 'a', 'b').id)
          else if (step.do === 'route') {
            const made = route(step.n, step.of + 1)
            routes.set(made.id, { ...made, priority: step.priority })
          } else if (step.do === 'unroute') routes.delete(route(step.n, 1).id)
          else if (step.do === 'member') {
            const record = step.record
              ? { ...peerRecord(step.name), data_addresses: [`10.9.0.${step.version}:7947`] }
              : null
            members.set(peerId(step.name), member(step.name, record))
          } else members.delete(peerId(step.name))
          look()
        }
      }),
      { numRuns: 300 }
    )
  })
})

describe("this host's side of a route that a member moved to another service", () => {
  it('is without it where it was', () => {
    const members = ['a', 'b'].map((one) => member(one, peerRecord(one)))
    const services = [service(1, 'a', 'b'), service(2, 'b', 'a')]
    const before = viewOf(members, services, [route(100, 1)])
    const after = viewOf(members, services, [route(100, 2)])
    const own = new OwnSide(peerId('a'))
    own.update(before, diff(viewOf([], [], []), before))
    const touched = own.update(after, diff(before, after))
    assert.deepEqual(
      [...touched].sort(),
      services.map(({ id }) => id)
    )
    assert.deepEqual(own.desired, desiredFor(peerId('a'), after))
  })
})

describe('two answers of the data plane', () => {
  const applied = (services: Array<[string, Partial<AppliedService>]>): AppliedState => ({
    generation: 1,
    failure: null,
    services: new Map(
      services.map(([id, one]) => [
        id,
        { spec: 's', failure: null, warnings: [], effectiveTransport: 'tcp', interface: null, ...one }
      ])
    )
  })

  it('differ by what was added, removed or answered otherwise, in whatever order they list it', () => {
    const some = fc.dictionary(fc.constantFrom(...'abcdefgh'), fc.constantFrom('1', '2', '3'))
    fc.assert(
      fc.property(some, some, fc.boolean(), (one, two, turned) => {
        const list = (from: Record<string, string>): Array<[string, Partial<AppliedService>]> =>
          Object.entries(from).map(([id, spec]) => [id, { spec }])
        const found = appliedDifferences(applied(list(one)), applied(turned ? list(two).reverse() : list(two)))
        const ids = [...new Set([...Object.keys(one), ...Object.keys(two)])].filter((id) => one[id] !== two[id])
        assert.deepEqual(found?.sort(), ids.sort())
      })
    )
  })

  it('may differ anywhere when one is a failure of everything', () => {
    assert.equal(appliedDifferences({ ...applied([]), failure: { reason: 'X', message: '' } }, applied([])), null)
    assert.equal(appliedDifferences(null, applied([])), null)
    const warned = applied([['a', { warnings: [{ reason: 'X', message: '' }] }]])
    assert.deepEqual(appliedDifferences(applied([['a', {}]]), warned), ['a'])
  })
})
