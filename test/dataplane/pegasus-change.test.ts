import assert from 'node:assert/strict'
import * as fc from 'fast-check'
import type { PegasusState } from '../../src/dataplane/pegasus.ts'
import { pegasusChange, type PegasusChange } from '../../src/dataplane/pegasus-change.ts'
import { splicesOf, spliced } from '../../src/dataplane/splices.ts'
import { EMPTY } from './support/empty-pegasus.ts'

const listOf = fc.array(fc.nat(12), { maxLength: 14 })

describe('splices of lists', () => {
  it('make the one of the other, whatever they are', () => {
    fc.assert(
      fc.property(listOf, listOf, (before, after) => {
        assert.deepEqual(spliced(before, splicesOf(before, after)), after)
      }),
      { numRuns: 2000 }
    )
  })

  it('are as few as a change of one thing needs', () => {
    const list = Array.from({ length: 1000 }, (_, i) => i)
    const sizes = (after: number[]): number[][] =>
      splicesOf(list, after).map(({ at, removed, inserted }) => [at, removed.length, inserted.length])
    assert.deepEqual(sizes(list.with(500, -1)), [[500, 1, 1]])
    assert.deepEqual(sizes(list.toSpliced(500, 1)), [[500, 1, 0]])
    assert.deepEqual(sizes(list.toSpliced(500, 0, -1)), [[500, 0, 1]])
    assert.deepEqual(sizes(list.toSpliced(500, 1).toSpliced(20, 0, 500)), [
      [20, 0, 1],
      [500, 1, 0]
    ])
    assert.deepEqual(sizes([...list, -1]), [[1000, 0, 1]])
    assert.deepEqual(sizes(list.slice(1)), [[0, 1, 0]])
    assert.deepEqual(sizes(list.with(0, -1).with(999, -2)), [
      [0, 1, 1],
      [999, 1, 1]
    ])
    assert.equal(spliced(list, splicesOf(list, list)), list)
  })
})

describe('a change of the state of Pegasus', () => {
  it('that is of 200,000 services at once is told as the whole state', () => {
    const service = { peer_id: 'b', transport: 'tcp', bandwidth_mbps: 0, transparent: false } as const
    const outbound = Array.from({ length: 200_000 }, (_, i) => ({ ...service, service_id: String(i) }))
    assert.equal(pegasusChange(EMPTY, { ...EMPTY, outbound }), null)
  })

  it('makes the next state of the one before', () => {
    const record = <T>(of: { [K in keyof T]: fc.Arbitrary<T[K]> }) => fc.record<T>(of, { noNullPrototype: true })
    const id = fc.constantFrom('a', 'b', 'c', 'd', 'e')
    const uniqueBy = <T>(item: fc.Arbitrary<T>, key: (item: T) => string) =>
      fc.uniqueArray(item, { selector: key, maxLength: 5 })
    const service = record({
      service_id: id,
      peer_id: id,
      transport: fc.constantFrom('tcp' as const, 'kcp' as const),
      bandwidth_mbps: fc.nat(2),
      transparent: fc.boolean()
    })
    const cidr = fc.constantFrom(null, '10.0.0.0/8', '10.1.0.0/16')
    const inbound = fc.tuple(service, fc.array(record({ source: cidr, dest: cidr }), { maxLength: 2 }))
    const route = record({ service_id: id, route_id: id, source: cidr, dest: cidr })
    const table = record({
      attached: fc.subarray(['10.1.0.0/16', '10.2.0.0/16']),
      routes: fc.array(route, { maxLength: 6 })
    })
    const listener = fc.oneof(
      record({ name: id, port: fc.nat(2), table }),
      record({ name: id, port: fc.nat(2), service_id: id })
    )
    const state: fc.Arbitrary<PegasusState> = record({
      data_listen: fc.constant('127.0.0.1:7947'),
      self: fc.constantFrom('a', 'a', 'a', 'b'),
      bypass_mark: fc.constant(1),
      peers: uniqueBy(
        record({ peer_id: id, public_key: fc.constantFrom('k', 'l'), addresses: fc.subarray(['1', '2']) }),
        ({ peer_id: name }) => name
      ),
      listeners: uniqueBy(listener, ({ name }) => name),
      outbound: uniqueBy(service, ({ service_id: name }) => name),
      inbound: uniqueBy(inbound, ([{ service_id: name }]) => name).map((all) =>
        all.map(([one, routes]) => ({ ...one, routes }))
      )
    })
    let changes = 0
    fc.assert(
      fc.property(state, state, fc.nat(), (before, fresh, mix) => {
        const after = mixed(before, fresh, mix)
        const change = pegasusChange(before, after)
        if (change == null) return
        changes++
        const told = JSON.parse(JSON.stringify(change)) as PegasusChange
        assert.deepEqual(inForce(changed(before, told)), inForce(after))
      }),
      { numRuns: 2000 }
    )
    assert.ok(changes > 500, `${changes} changes`)
  })

  it('says what has changed and nothing else', () => {
    const before = large()
    const route = before.listeners[0]!
    assert.ok('table' in route)
    const dest = { ...route.table.routes[700]!, dest: '172.16.0.0/24' }
    const after: PegasusState = {
      ...before,
      listeners: [{ ...route, port: 41_000, table: { ...route.table, routes: route.table.routes.with(700, dest) } }],
      outbound: before.outbound.map((service, i) => (i === 3 ? { ...service, bandwidth_mbps: 7 } : service))
    }
    assert.deepEqual(pegasusChange(before, after), {
      outbound: { set: [{ ...before.outbound[3], bandwidth_mbps: 7 }] },
      routes: [{ listener: 'general', splices: [{ at: 700, remove: 1, insert: [dest] }] }]
    })
    assert.deepEqual(pegasusChange(before, structuredClone(before)), null, 'nothing is known to be the same')
    assert.deepEqual(pegasusChange(before, { ...before }), {})
    assert.deepEqual(pegasusChange(before, { ...before, outbound: before.outbound.slice(1) }), {
      outbound: { remove: ['s0'] }
    })
    for (const other of [
      { self: 'z' },
      { bypass_mark: 2 },
      { data_listen: 'x' },
      { kcp_congestion_control: false as const }
    ])
      assert.equal(pegasusChange(before, { ...before, ...other }), null)
    assert.equal(pegasusChange({ ...before, outbound: [], listeners: [] }, before), null, 'as good as all is new')
  })
})

function large(): PegasusState {
  const ids = Array.from({ length: 1000 }, (_, i) => `s${i}`)
  return {
    data_listen: '127.0.0.1:7947',
    self: 'a',
    bypass_mark: 1,
    peers: [{ peer_id: 'b', public_key: 'k', addresses: [] }],
    listeners: [
      {
        name: 'general',
        port: 0,
        table: {
          attached: [],
          routes: ids.map((service_id, i) => ({ service_id, route_id: `r${i}`, source: null, dest: `10.0.${i}.0/24` }))
        }
      }
    ],
    outbound: ids.map((service_id) => ({
      service_id,
      peer_id: 'b',
      transport: 'tcp',
      bandwidth_mbps: 0,
      transparent: false
    })),
    inbound: []
  }
}

/** `after`, with some of the very objects of `before` in it, as states that follow each other have. */
function mixed(before: PegasusState, after: PegasusState, mix: number): PegasusState {
  const keep = (bit: number): boolean => ((mix >> bit) & 1) === 1
  return {
    ...after,
    self: keep(0) ? before.self : after.self,
    outbound: keep(1) ? before.outbound : after.outbound,
    inbound: keep(2) ? before.inbound.filter((_, i) => keep(8 + i)) : after.inbound,
    listeners: keep(3)
      ? before.listeners.map((listener) =>
          'table' in listener && keep(4)
            ? {
                ...listener,
                table: { ...listener.table, routes: listener.table.routes.filter((_, i) => keep(13 + i)) }
              }
            : listener
        )
      : after.listeners
  }
}

/** What an engine makes of a change, as engines/PROTOCOL.md says it. */
function changed(state: PegasusState, change: PegasusChange): PegasusState {
  const next = structuredClone(state) as { -readonly [K in keyof PegasusState]: PegasusState[K] }
  const put = <T>(
    list: readonly T[],
    { remove = [], set = [] }: { remove?: string[]; set?: T[] } = {},
    key: (item: T) => string
  ): T[] => {
    for (const name of remove)
      assert.ok(
        list.some((item) => key(item) === name),
        `${name} goes and is not there`
      )
    const left = list.filter((item) => !remove.includes(key(item)))
    return [...left.filter((item) => !set.some((other) => key(other) === key(item))), ...set]
  }
  next.peers = put(next.peers, change.peers, ({ peer_id: name }) => name)
  next.listeners = put(next.listeners, change.listeners, ({ name }) => name)
  next.outbound = put(next.outbound, change.outbound, ({ service_id: name }) => name)
  next.inbound = put(next.inbound, change.inbound, ({ service_id: name }) => name)
  for (const { listener, splices } of change.routes ?? []) {
    const found = next.listeners.find(({ name }) => name === listener)
    assert.ok(found != null && 'table' in found, listener)
    for (const { at, remove, insert } of splices) {
      assert.ok(at + remove <= found.table.routes.length)
      found.table.routes = found.table.routes.toSpliced(at, remove, ...insert)
    }
  }
  return next
}

/** A state without what says nothing: the order of what has a name, and the ports that are wished for. */
function inForce(state: PegasusState): object {
  const sorted = <T>(list: readonly T[]): T[] =>
    list.toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1))
  return {
    ...state,
    peers: sorted(state.peers),
    listeners: sorted(state.listeners.map((listener) => ({ ...listener, port: 0 }))),
    outbound: sorted(state.outbound),
    inbound: sorted(state.inbound)
  }
}
