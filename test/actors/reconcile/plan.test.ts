import assert from 'node:assert/strict'
import * as fc from 'fast-check'
import { plan, type Population, type Step } from '../../../src/actors/reconcile/plan.ts'

const id = fc.constantFrom('p1', 'p2', 'p3', 'p4')
const populations: fc.Arbitrary<Population> = fc
  .record({
    peers: fc.uniqueArray(id),
    tunnels: fc.uniqueArray(id),
    services: fc.uniqueArray(
      fc.record({
        id: fc.constantFrom('s1', 's2', 's3'),
        spec: fc.constantFrom('x', 'y'),
        routes: fc.uniqueArray(fc.tuple(fc.constantFrom('r1', 'r2', 'r3'), fc.constantFrom('u', 'v')), {
          selector: ([route]) => route
        })
      }),
      { selector: (one) => one.id }
    )
  })
  .map(({ peers, tunnels, services }) => ({
    peers: new Set(peers),
    tunnels: new Set(tunnels),
    services: new Map(services.map(({ id: key, spec, routes }) => [key, { spec, routes: new Map(routes) }]))
  }))

/** Carries out steps on a plain model, refusing what a real pool could not do. */
function run(start: Population, steps: Step[]): Population {
  const peers = new Set(start.peers)
  const tunnels = new Set(start.tunnels)
  const services = new Map(
    [...start.services].map(([key, { spec, routes }]) => [key, { spec, routes: new Map(routes) }])
  )
  for (const step of steps) {
    const [kind, verb] = step.type.split('.')
    if (kind === 'peer' || kind === 'tunnel') {
      const set = kind === 'peer' ? peers : tunnels
      assert.equal(set.has(step.id), verb === 'stop')
      if (verb === 'start') set.add(step.id)
      else set.delete(step.id)
    } else if (step.type === 'service.start') {
      assert.ok(!services.has(step.id))
      services.set(step.id, { spec: step.spec, routes: new Map() })
    } else if (step.type === 'service.update') {
      services.get(step.id)!.spec = step.spec
    } else if (step.type === 'service.stop') {
      assert.ok(services.delete(step.id))
    } else if (step.type === 'route.stop') {
      assert.ok(services.get(step.service)!.routes.delete(step.id))
    } else if (step.type === 'route.start' || step.type === 'route.update') {
      assert.equal(services.get(step.service)!.routes.has(step.id), step.type === 'route.update')
      services.get(step.service)!.routes.set(step.id, step.wish)
    }
  }
  return { peers, tunnels, services }
}

describe('the plan', () => {
  it('leads from any actors to those that should live', () => {
    fc.assert(
      fc.property(populations, populations, (actual, wanted) => {
        const reached = run(actual, plan(actual, wanted))
        assert.deepEqual([...reached.peers].sort(), [...wanted.peers].sort())
        assert.deepEqual([...reached.tunnels].sort(), [...wanted.tunnels].sort())
        assert.deepEqual(new Map([...reached.services].sort()), new Map([...wanted.services].sort()))
        assert.deepEqual(plan(reached, wanted), [])
      })
    )
  })

  it('touches nothing that is as it should be', () => {
    fc.assert(fc.property(populations, (wanted) => assert.deepEqual(plan(wanted, wanted), [])))
  })

  it('starts what a service needs before it, and ends it after', () => {
    const none: Population = { peers: new Set(), tunnels: new Set(), services: new Map() }
    const one: Population = {
      peers: new Set(['p']),
      tunnels: new Set(['p']),
      services: new Map([['s', { spec: 'x', routes: new Map([['r', 'u']]) }]])
    }
    assert.deepEqual(
      plan(none, one).map(({ type }) => type),
      ['peer.start', 'tunnel.start', 'service.start', 'route.start']
    )
    assert.deepEqual(
      plan(one, none).map(({ type }) => type),
      ['service.stop', 'tunnel.stop', 'peer.stop']
    )
  })
})
