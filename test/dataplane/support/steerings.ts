import assert from 'node:assert/strict'
import * as fc from 'fast-check'
import { createMarks } from '../../../src/dataplane/marks.ts'
import { memberEndpoints, type HostNetworks } from '../../../src/dataplane/never-taken.ts'
import { parseAddress, parsePrefix } from '../../../src/dataplane/prefix.ts'
import { compile, type RoutedService } from '../../../src/dataplane/route-table.ts'
import type { Steering } from '../../../src/dataplane/ruleset.ts'
import * as arbitrary from './arbitraries.ts'

const present = <T>(value: T | null | undefined): T => value ?? assert.fail('a value is missing')

/** The edge's networks in the world of `arbitraries.ts`: one that packets come from, two that some are bound for. */
export const edgeAddresses = ['172.20.3.9/24', 'fd20::309/120', '172.20.5.2/28', 'fd20::502/124']
const edgeHost: HostNetworks = {
  own: edgeAddresses.map((cidr) => present(parseAddress(cidr.split('/')[0] ?? ''))),
  attached: edgeAddresses.map((cidr) => present(parsePrefix(cidr)))
}

/** What an edge host with these services would have in its kernel. */
export function steering(services: RoutedService[], fields: Partial<Steering> = {}): Steering {
  return {
    marks: createMarks(),
    table: compile(services, edgeHost),
    // Every third has no way to its target: its packets are taken and counted all the same.
    services: services.map(({ id, device }, i) => ({
      id,
      device,
      addresses: [],
      tunnel: i % 3 === 2 ? null : 1,
      port: 4001
    })),
    tunnels: [{ index: 1, device: 'arct-00000001', covers: compile([], { own: [], attached: [] }) }],
    members: memberEndpoints(['172.20.15.14:9']),
    transparent: false,
    generalPort: 4000,
    draining: false,
    ...fields
  }
}

const ownAddresses = ['172.20.3.15', 'fd20::30f'].map((text) => present(parseAddress(text)))

const states = fc.record({
  services: arbitrary.services(['dev0']),
  tunnels: fc.uniqueArray(fc.integer({ min: 1, max: 3 }), { maxLength: 3 }),
  covers: arbitrary.services([]),
  transparent: fc.boolean(),
  draining: fc.boolean(),
  generalPort: fc.constantFrom(4000, 4100, null)
})

const stateOf = ({ tunnels, covers, ...one }: typeof states extends fc.Arbitrary<infer T> ? T : never): Steering =>
  steering(one.services, {
    transparent: one.transparent,
    draining: one.draining,
    generalPort: one.generalPort,
    tunnels: tunnels.map((index) => ({ index, device: `tun${index}`, covers: compile(covers, edgeHost) })),
    services: one.services.map(({ id, device }, i) => ({
      id,
      device,
      addresses: device == null ? [] : ownAddresses,
      tunnel: tunnels[i % 3] ?? null,
      port: 4001
    }))
  })

/** Any state of such a host. */
export const steerings: fc.Arbitrary<Steering> = states.map(stateOf)
