import * as fc from 'fast-check'
import type { HostNetworks } from '../../../src/dataplane/never-taken.ts'
import {
  BITS,
  formatAddress,
  formatPrefix,
  prefixOf,
  type Address,
  type Family
} from '../../../src/dataplane/prefix.ts'
import type { RoutedService } from '../../../src/dataplane/route-table.ts'
import { routeId, serviceId } from './states.ts'

/**
 * Addresses of a tiny world, so that routes, attached networks and packets meet often: 172.20.0.0/16 and fd20::/112, of
 * which only the last 4 bits of the third and the last byte vary.
 */
const BASE: Record<Family, bigint> = { 4: 0xac140000n, 6: 0xfd20n << 112n }
const address = (family: Family): fc.Arbitrary<Address> =>
  fc.tuple(fc.integer({ min: 0, max: 15 }), fc.integer({ min: 1, max: 14 })).map(([third, last]) => ({
    family,
    value: BASE[family] | BigInt((third << 8) | last)
  }))

const LENGTHS: Record<Family, number[]> = {
  4: [0, 8, 16, 20, 22, 23, 24, 28, 30, 32],
  6: [0, 16, 64, 112, 118, 119, 120, 124, 128]
}
const cidr = (family: Family): fc.Arbitrary<string> =>
  fc
    .tuple(address(family), fc.constantFrom(...LENGTHS[family]))
    .map(([at, length]) => formatPrefix(prefixOf(at, length)))

export const family = fc.constantFrom<Family>(4, 6)

const routeFields = family.chain((of) =>
  fc.record({
    sourceCidr: fc.option(cidr(of)),
    destCidr: fc.option(cidr(of)),
    priority: fc.constantFrom(50, 100, 200)
  })
)

/** Services with routes; the third has the first device, the sixth the second. Route ids are in no order, so that ties are decided by them. */
export const services = (devices: readonly string[]): fc.Arbitrary<RoutedService[]> =>
  fc.array(fc.array(routeFields, { minLength: 1, maxLength: 6 }), { minLength: 1, maxLength: 6 }).map((all) =>
    all.map((routes, s) => ({
      id: serviceId(s + 1),
      device: s % 3 === 2 ? (devices[(s - 2) / 3] ?? null) : null,
      routes: routes.map((fields, r) => ({
        ...fields,
        serviceId: serviceId(s + 1),
        id: routeId((s * 37 + r * 11) % 101)
      }))
    }))
  )

export const host: fc.Arbitrary<HostNetworks> = fc.record({
  own: fc.array(family.chain(address), { maxLength: 2 }),
  attached: fc.array(
    family.chain((of) =>
      fc
        .tuple(address(of), fc.constantFrom(...(of === 4 ? [20, 24, 28] : [118, 120, 124])))
        .map(([at, length]) => prefixOf(at, length))
    ),
    { maxLength: 3 }
  )
})

export const packet = (interfaces: readonly (string | null)[]) =>
  family.chain((of) => fc.record({ interface: fc.constantFrom(...interfaces), source: address(of), dest: address(of) }))

export const text = (at: Address): string => formatAddress(at)
export const bits = (of: Family): number => BITS[of]
