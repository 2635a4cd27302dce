import assert from 'node:assert/strict'
import * as fc from 'fast-check'
import type { DesiredState, InboundService, OutboundService } from '../../src/dataplane/desired.ts'
import { serviceDeviceName } from '../../src/dataplane/devices.ts'
import { hostFacts, type HostFacts } from '../../src/dataplane/interfaces.ts'
import type { IpLink } from '../../src/dataplane/ip.ts'
import { createMarks } from '../../src/dataplane/marks.ts'
import { AppliedMemory } from '../../src/dataplane/outcome.ts'
import { GENERAL_LISTENER, PegasusMemory, pegasusState } from '../../src/dataplane/pegasus.ts'
import { stateText } from '../../src/dataplane/state-text.ts'
import { PlanMemory } from '../../src/dataplane/plan-memory.ts'
import { planDevices, planSteering } from '../../src/dataplane/plan.ts'
import { RulesetMemory, rulesetParts, tableText } from '../../src/dataplane/ruleset.ts'
import { desired, deviceServiceId, inbound, outbound, peer, route, serviceId } from './support/states.ts'

const link = (ifname: string, cidr: string): IpLink => ({
  ifindex: 1,
  ifname,
  flags: ['UP'],
  mtu: 1500,
  link_type: 'ether',
  addr_info: [
    { family: 'inet', local: cidr.split('/')[0] ?? '', prefixlen: Number(cidr.split('/')[1]), scope: 'global' }
  ]
})
const host = (...links: IpLink[]): HostFacts => hostFacts(links, [{ type: '1', dst: 'default', dev: 'lan' }], [])
const HOSTS = [host(link('lan', '10.1.0.1/24')), host(link('lan', '10.1.0.1/24'), link('dmz', '10.2.0.1/16'))]
const marks = createMarks()

describe('a state that is told anew', function () {
  this.timeout(180_000)

  it('comes to the same, made of the objects of the one before or of others that are equal', () => {
    const cidr = fc.constantFrom(
      null,
      '10.1.0.0/24',
      '10.2.3.0/24',
      '10.7.0.0/16',
      '0.0.0.0/0',
      'fd01::/64',
      'none',
      '10.7.0.5/32'
    )
    const routes = fc.array(fc.record({ n: fc.nat(40), source: cidr, dest: cidr, priority: fc.nat(3) }), {
      maxLength: 4
    })
    const service = fc.record({ routes, limit: fc.nat(2), device: fc.boolean() })
    const step = fc.record({
      at: fc.nat(7),
      service: fc.option(service),
      host: fc.nat(1),
      forwards: fc.subarray(['lan', 'dmz']),
      fails: fc.boolean(),
      strangers: fc.boolean()
    })
    fc.assert(
      fc.property(fc.array(step, { minLength: 2, maxLength: 12 }), (steps) => {
        const services: Array<OutboundService | InboundService | null> = []
        const memory = remembering()
        for (const { at, service: given, host: which, forwards, fails, strangers } of steps) {
          services[at] = given == null ? null : made(at, given)
          const held = services.filter((one) => one != null)
          const state = desired({
            peers: strangers ? [peer(2)] : [peer(2), peer(3)],
            outbound: held.filter((one) => 'targetPeer' in one),
            inbound: held.filter((one) => 'sourcePeer' in one)
          })
          const facts = HOSTS[which] as HostFacts
          const forwarding = { ipv4: new Set<string>(forwards), ipv6: null }
          const failed = new Set(fails ? [serviceDeviceName(deviceServiceId(at))] : [])
          assert.deepEqual(
            all(state, facts, forwarding, failed, memory),
            all(structuredClone(state), structuredClone(facts), forwarding, failed, remembering())
          )
        }
      }),
      { numRuns: 100 }
    )
  })
})

interface Given {
  routes: Array<{ n: number; source: string | null; dest: string | null; priority: number }>
  limit: number
  device: boolean
}

function made(at: number, { routes, limit, device }: Given): OutboundService | InboundService {
  const id = device ? deviceServiceId(at) : serviceId(at)
  const own = routes.map(({ n, source, dest, priority }) =>
    route(n, id, { sourceCidr: source, destCidr: dest, priority })
  )
  if (at % 3 === 0) return inbound(id, peer(2), own, { bandwidthLimitMbps: limit })
  const on = device ? { ipv4Cidr: null, ipv6Cidr: null } : null
  return outbound(id, peer(at % 2 === 0 ? 2 : 3), own, { bandwidthLimitMbps: limit, interface: on })
}

/** What a host remembers of the states before. */
const remembering = () => ({
  plan: new PlanMemory(),
  pegasus: new PegasusMemory(),
  ruleset: new RulesetMemory(),
  applied: new AppliedMemory()
})

/** All that the host is told, and what is said of it. */
function all(
  state: DesiredState,
  facts: HostFacts,
  forwarding: { ipv4: Set<string>; ipv6: null },
  failedDevices: ReadonlySet<string>,
  memory: ReturnType<typeof remembering>
): unknown {
  const plan = planDevices(state, { known: new Map(), facts, marks, parent: null, memory: memory.plan })
  const steering = planSteering(state, { plan, failedDevices, facts, marks, memory: memory.plan })
  const ports = new Map([[GENERAL_LISTENER, 40_000]])
  const keys = { before: null, known: new Set<string>() }
  const common = { dataListen: '0.0.0.0:7947', bypassMark: marks.bypass, kcpCongestionControl: true, keys }
  const { table, serviceDevices: devices } = steering
  const engine = pegasusState(state, { ...common, table, devices, ports, memory: memory.pegasus })
  const outcome = { planned: plan.failures, deviceFailures: new Map(), engineErrors: [], facts, forwarding }
  return {
    ruleset: tableText(rulesetParts(steering.steering(ports, GENERAL_LISTENER), memory.ruleset).flat()),
    engine,
    // What was written before is not written again, and has to be what it is.
    texts: ['\n', ''].map((gap) => JSON.parse(stateText(engine, gap as '' | '\n'))),
    applied: [
      ...memory.applied.services(state, {
        ...outcome,
        parentTroubles: new Map(),
        returnPaths: new Map(),
        cutOff: new Map()
      })
    ]
  }
}
