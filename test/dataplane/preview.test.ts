import assert from 'node:assert/strict'
import * as fc from 'fast-check'
import type { DesiredState } from '../../src/dataplane/desired.ts'
import { hostFacts } from '../../src/dataplane/interfaces.ts'
import { previewLinesMax } from '../../src/dataplane/limits.ts'
import { createMarks } from '../../src/dataplane/marks.ts'
import { linesOf, previewRules, type RulePreview } from '../../src/dataplane/preview.ts'
import { desired, deviceServiceId, inbound, outbound, peer, route, serviceId } from './support/states.ts'

const host = {
  facts: hostFacts([], [{ type: '1', dst: 'default', dev: 'wan', gateway: '10.9.0.2' }], []),
  marks: createMarks(),
  indexes: new Map<string, number>(),
  ports: new Map<string, number>(),
  parent: 'wan'
}
const [far, near] = [peer(2), peer(3)]

/** A few networks each, so that two states have some in common. */
const networks = fc.uniqueArray(fc.integer({ min: 0, max: 9 }), { maxLength: 4 })
const states = fc
  .record({ out: networks, over: fc.constantFrom(far, near), own: fc.boolean(), into: networks })
  .map(({ out, over, own, into }): DesiredState => {
    const id = own ? deviceServiceId(1) : serviceId(1)
    const device = own ? { ipv4Cidr: '10.44.0.9/24', ipv6Cidr: null } : null
    const routes = (of: string, list: number[]) =>
      list.map((n) => route(n, of, { destCidr: n % 2 === 0 ? `10.${n}.0.0/16` : `fd00:${n}::/64` }))
    return desired({
      peers: [far, near],
      outbound: [outbound(id, over, routes(id, out), { interface: device })],
      inbound: [inbound(serviceId(2), far, routes(serviceId(2), into))]
    })
  })

const preview = (before: DesiredState, after: DesiredState): RulePreview => previewRules(before, after, host)

describe('preview of a ruleset', function () {
  this.timeout(30_000)

  it('is nothing for the same state, and one way round what the other way round takes back', () => {
    fc.assert(
      fc.property(states, states, (one, other) => {
        assert.deepEqual(preview(one, one), { added: [], removed: [], more: 0 })
        const [there, back] = [preview(one, other), preview(other, one)]
        assert.deepEqual(there.added, back.removed)
        assert.deepEqual(there.removed, back.added)
      })
    )
  })

  it('names every element and the chain of a service, whether its device is there yet or not', () => {
    const id = deviceServiceId(1)
    const own = outbound(id, far, [route(1, id, { destCidr: '10.2.0.0/16' })], {
      interface: { ipv4Cidr: '10.44.0.9/24', ipv6Cidr: null }
    })
    const { added, removed } = preview(desired({}), desired({ peers: [far], outbound: [own] }))
    assert.deepEqual(removed, [])
    const device = id.slice(0, 15).toLowerCase()
    for (const line of [
      `chain service_${id}`,
      `map route_${device}_4_x_16: 10.2.0.0 : goto service_${id}`,
      'chain output: ip saddr vmap @sent_by4',
      `map sent_by4: 10.44.0.9 : jump route_${device}`
    ]) {
      assert.ok(added.includes(line), `${line} is missing in\n${added.join('\n')}`)
    }
  })

  it('is cut at so many lines, and says how many it left out', () => {
    const id = serviceId(1)
    const many = Array.from({ length: previewLinesMax + 500 }, (_, n) =>
      route(n, id, { destCidr: `10.${n >> 8}.${n & 255}.0/24` })
    )
    const { added, more } = preview(desired({}), desired({ peers: [far], outbound: [outbound(id, far, many)] }))
    assert.equal(added.length, previewLinesMax)
    assert.ok(more >= 500)
  })

  it('reads each object, rule and element of a ruleset once', () => {
    const text = [
      'table inet arctic',
      'delete table inet arctic',
      'table inet arctic {',
      'counter in_X { packets 0 bytes 0',
      '}',
      'set tunnels {',
      ' type ifname',
      ' elements = { "a", "b" }',
      '}',
      'map route_4_8_8 {',
      ' type ipv4_addr . ipv4_addr : verdict',
      ' elements = { 10.0.0.0 . 11.0.0.0 : goto service_X }',
      '}',
      'chain zones {',
      ' type filter hook prerouting priority raw; policy accept;',
      ' ct original zone set iifname map { "a" : 1, "b" : 2 }',
      '}',
      '}',
      ''
    ].join('\n')
    assert.deepEqual(linesOf(text), [
      'counter in_X',
      'set tunnels',
      'set tunnels: "a"',
      'set tunnels: "b"',
      'map route_4_8_8',
      'map route_4_8_8: 10.0.0.0 . 11.0.0.0 : goto service_X',
      'chain zones',
      'chain zones: type filter hook prerouting priority raw; policy accept;',
      'chain zones: ct original zone set iifname map { "a" : 1, "b" : 2 }'
    ])
  })
})
