import { hash } from 'node:crypto'
import type { PeerId, ServiceId } from '../../src/crdt/schema.ts'
import type { DesiredState } from '../../src/dataplane/desired.ts'
import { hostFacts, type HostFacts } from '../../src/dataplane/interfaces.ts'
import type { IpLink } from '../../src/dataplane/ip.ts'
import { createMarks } from '../../src/dataplane/marks.ts'
import type { HostNetworks } from '../../src/dataplane/never-taken.ts'
import { planDevices, planSteering, type DevicePlan } from '../../src/dataplane/plan.ts'
import type { Packet } from '../../src/dataplane/route.ts'
import { compile, type RouteTable } from '../../src/dataplane/route-table.ts'
import { rulesetObjects, tableText } from '../../src/dataplane/ruleset.ts'

export type EngineName = 'pegasus' | 'tempest'

export interface Engine {
  state: 'starting' | 'ready' | 'failed' | 'stopped'
  pid: number | null
  restarts: number
}

/** What a packet meets on its way out of a host. */
export interface Steered {
  service: ServiceId
  route: string
  target: PeerId
}

const MARKS = createMarks()
const NOTHING: DesiredState = { self: '', peers: [], outbound: [], inbound: [], endpoints: [] }

/**
 * The kernel and the engines of a host, as far as steering goes: it holds the last ruleset that was loaded, compiled by the
 * product's own planning, so that flows can be led through it. It outlives agents, and not a power failure.
 */
export class SimKernel {
  readonly ip: string
  /** Its address in its site, if it has one. */
  readonly lan: string | null
  /** Of a real host that this one stands for. */
  readonly #networks: HostNetworks
  #indexes: ReadonlyMap<PeerId, number> = new Map()
  #devices: IpLink[] = []
  #table: RouteTable
  #targets = new Map<ServiceId, PeerId>()
  #inbound = new Map<ServiceId, { peer: PeerId; covers: RouteTable }>()
  #pids = 100
  desired: DesiredState = NOTHING
  /** Text of the ruleset in force; empty when there is none. */
  rules = ''
  readonly engines: Record<EngineName, Engine> = {
    pegasus: { state: 'stopped', pid: null, restarts: 0 },
    tempest: { state: 'stopped', pid: null, restarts: 0 }
  }
  /** The kernel says no, as when a module is missing. */
  refuses = false
  /** Factor on the time an apply takes. */
  slowness = 1

  constructor(ip: string, lan: string | null, networks: HostNetworks = { own: [], attached: [] }) {
    this.ip = ip
    this.lan = lan
    this.#networks = networks
    this.#table = compile([], this.facts())
  }

  facts(): HostFacts {
    const site = this.lan == null ? [] : [link('eth1', 3, this.lan, 24)]
    const links = [link('eth0', 2, this.ip, 15), ...site, ...this.#devices]
    const facts = hostFacts(links, [{ dst: 'default', dev: 'eth0', gateway: '198.19.255.254' } as never], [])
    const { own, attached } = this.#networks
    return { ...facts, own: [...facts.own, ...own], attached: [...facts.attached, ...attached] }
  }

  startEngines(): boolean {
    const adopted = this.engines.pegasus.pid != null
    for (const name of ['pegasus', 'tempest'] as const) this.startEngine(name)
    return adopted
  }

  startEngine(name: EngineName): void {
    const engine = this.engines[name]
    engine.pid ??= this.#pids++
    engine.state = 'ready'
  }

  crashEngine(name: EngineName): void {
    const engine = this.engines[name]
    engine.pid = null
    engine.state = 'failed'
    engine.restarts++
  }

  /** Brings steering to `desired`; what cannot be served comes back with the reason. */
  load(desired: DesiredState): { plan: DevicePlan; facts: HostFacts } {
    const compiled = this.compiled(desired)
    const { plan, steering } = compiled
    this.#indexes = plan.indexes
    this.#devices = plan.devices.flatMap((device, i) =>
      device.kind === 'macvlan'
        ? [
            {
              ...link(device.name, 10 + i, undefined, 24),
              ifalias: device.alias,
              address: device.mac
            }
          ]
        : []
    )
    this.#table = steering.table
    this.#targets = new Map(desired.outbound.map(({ id, targetPeer }) => [id, targetPeer]))
    this.#inbound = new Map(
      desired.inbound
        .filter(({ id }) => !plan.failures.has(id))
        .map(({ id, sourcePeer, routes }) => {
          const covers = compile([{ id, device: null, routes }], { own: [], attached: [] }, { catchAll: 'always' })
          return [id, { peer: sourcePeer, covers }]
        })
    )
    this.rules = compiled.rules
    this.desired = desired
    return { plan, facts: this.facts() }
  }

  /** What `load` would put into the kernel, without doing it. */
  compiled(desired: DesiredState): { plan: DevicePlan; steering: ReturnType<typeof planSteering>; rules: string } {
    const facts = this.facts()
    const planned = planDevices(desired, { known: this.#indexes, facts, marks: MARKS, parent: null })
    // The text of a ruleset follows the order of the tunnels; sorted, it says the same whatever came first.
    const plan = { ...planned, indexes: new Map([...planned.indexes].sort(([a], [b]) => (a < b ? -1 : 1))) }
    const steering = planSteering(desired, { plan, failedDevices: new Set(), facts, marks: MARKS })
    const ports = new Map([
      ['general', 20_000],
      ...[...steering.serviceDevices.values()].map((d, i) => [d, 20_001 + i] as const)
    ])
    return { plan, steering, rules: tableText(rulesetObjects(steering.steering(ports, 'general'))) }
  }

  digest(): string {
    return hash('sha256', this.rules, 'hex').slice(0, 16)
  }

  /** Which service takes a packet that enters this host, as the ruleset in force has it. */
  steer(packet: Packet): Steered | null {
    const route = this.#table.match(packet)
    if (route == null) return null
    return { service: route.serviceId, route: route.id, target: this.#targets.get(route.serviceId) ?? '' }
  }

  /** Whether what `from` sends for a service may come out here. */
  takes(from: PeerId, service: ServiceId, packet: Packet): boolean {
    const inbound = this.#inbound.get(service)
    return inbound != null && inbound.peer === from && inbound.covers.match(packet) != null
  }

  /** Everything of ours leaves the kernel, and the engines end. */
  clear(): void {
    this.#indexes = new Map()
    this.#devices = []
    this.#table = compile([], this.facts())
    this.#targets = new Map()
    this.#inbound = new Map()
    this.desired = NOTHING
    this.rules = ''
    for (const engine of Object.values(this.engines)) {
      engine.pid = null
      engine.state = 'stopped'
    }
  }
}

const link = (ifname: string, ifindex: number, local: string | undefined, prefixlen: number): IpLink => ({
  ifindex,
  ifname,
  flags: ['UP'],
  mtu: 1500,
  link_type: 'ether',
  addr_info: local == null ? [] : [{ family: 'inet', local, prefixlen, scope: 'global' }]
})
