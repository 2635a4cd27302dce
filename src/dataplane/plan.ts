import type { PeerId, ServiceId } from '../crdt/schema.ts'
import type { AppliedFailure, DesiredState, InboundService, OutboundService } from './desired.ts'
import {
  serviceDevice,
  serviceDeviceName,
  tunnelDevice,
  tunnelDeviceName,
  type DeviceAddress,
  type WantedDevice
} from './devices.ts'
import { defaultDevice, isOurs, type HostFacts } from './interfaces.ts'
import type { Marks } from './marks.ts'
import { memberEndpoints } from './never-taken.ts'
import { once } from '../once.ts'
import { contains, parseAddress, parsePrefix, samePrefix, type Address } from './prefix.ts'
import { hasGoodId, PlanMemory } from './plan-memory.ts'
import type { RouteTable } from './route-table.ts'
import type { SteeredService, Steering } from './ruleset.ts'
import { splicesOf } from './splices.ts'
import { assignIndexes } from './tempest.ts'

/** Which devices a desired state needs, and which of its services cannot be served on this host at all. */
export interface DevicePlan {
  indexes: Map<PeerId, number>
  devices: WantedDevice[]
  /** Services that are not served, with the reason. */
  failures: Map<ServiceId, AppliedFailure>
  /** Of these, the ones whose packets are taken all the same, and refused: there is no way to their target peer. */
  blocked: Set<ServiceId>
}

export function planDevices(
  desired: DesiredState,
  {
    known,
    facts,
    marks,
    parent,
    memory = new PlanMemory()
  }: {
    known: ReadonlyMap<PeerId, number>
    facts: HostFacts
    marks: Marks
    parent: string | null
    memory?: PlanMemory
  }
): DevicePlan {
  const indexes = assignIndexes(
    desired.peers.map(({ id }) => id),
    known,
    marks.tunnelsMax
  )
  const devices = [...indexes.keys()].map(tunnelDevice)
  const failures = new Map<ServiceId, AppliedFailure>()
  const described = new Set(desired.peers.map(({ id }) => id))
  const noWay = (peer: PeerId): AppliedFailure => (described.has(peer) ? noTunnel(marks) : noPeer(peer))
  const outbound = memory.outbound.update(desired.outbound)
  const inbound = memory.inbound.update(desired.inbound)
  const hasWays = [outbound, inbound].every(({ peers }) => [...peers].every((peer) => indexes.has(peer)))
  for (const service of [...outbound.odd, ...inbound.odd]) if (!hasGoodId(service)) failures.set(service.id, badId)
  // A service without a device whose peer has its tunnel is nothing to look at.
  for (const service of hasWays ? outbound.odd : desired.outbound) {
    if (failures.has(service.id)) continue
    if (!indexes.has(service.targetPeer)) failures.set(service.id, noWay(service.targetPeer))
    if (service.interface == null) continue
    const { ipv4Cidr, ipv6Cidr } = service.interface
    const name = serviceDeviceName(service.id)
    if (devices.some((device) => device.name === name)) {
      failures.set(service.id, sameName(name))
      continue
    }
    const taken = takenAddress(name, [ipv4Cidr, ipv6Cidr], facts)
    if (taken != null) {
      failures.set(service.id, addressTaken(taken))
      continue
    }
    const on = parent ?? parentDevice(name, [ipv4Cidr, ipv6Cidr], facts)
    if (on == null) failures.set(service.id, noParent)
    else if (facts.links.some(({ ifname, link_type }) => ifname === on && link_type !== 'ether'))
      failures.set(service.id, notEthernet(on))
    else devices.push(serviceDevice(service.id, on, deviceAddresses(name, [ipv4Cidr, ipv6Cidr], facts)))
  }
  for (const { id, sourcePeer } of hasWays ? [] : desired.inbound)
    if (!indexes.has(sourcePeer) && !failures.has(id)) failures.set(id, noWay(sourcePeer))
  const hasNoWay = ({ id }: OutboundService): boolean => NO_WAY.includes(failures.get(id)?.reason ?? '')
  const blocked = new Set(failures.size === 0 ? [] : desired.outbound.filter(hasNoWay).map(({ id }) => id))
  return { indexes, devices, failures, blocked }
}

/** A network counts as shared when an interface other than the device itself is on it. */
function deviceAddresses(name: string, cidrs: readonly (string | null)[], facts: HostFacts): DeviceAddress[] {
  const others = facts.ways.filter(({ device }) => device !== name)
  return cidrs
    .filter((cidr) => cidr != null)
    .map((cidr) => {
      const network = parsePrefix(cidr)
      return { cidr, shared: network != null && others.some((way) => samePrefix(way.network, network)) }
    })
}

const badId: AppliedFailure = {
  reason: 'InvalidId',
  message:
    'the id of this service is no plain word, so it cannot name anything in the kernel; delete it and create it anew'
}

const sameName = (name: string): AppliedFailure => ({
  reason: 'InterfaceConflict',
  message: `another service's device is named ${name} too, because both ids begin alike; delete this service and create it anew`
})

const addressTaken = ({ address, device }: { address: string; device: string }): AppliedFailure => ({
  reason: 'InterfaceConflict',
  message: `${address} is this host's address on ${device}; give the service one that nobody has`
})

/** An address that the host has already, on a device that is none of its services': it would be taken from there. */
function takenAddress(
  name: string,
  cidrs: readonly (string | null)[],
  { links }: HostFacts
): { address: string; device: string } | null {
  const wanted = cidrs.flatMap((cidr) => cidr?.split('/', 1) ?? [])
  for (const link of links) {
    if (link.ifname === name || isOurs(link)) continue
    const found = link.addr_info.find(({ local }) => wanted.includes(local))
    if (found != null) return { address: found.local, device: link.ifname }
  }
  return null
}

const noParent: AppliedFailure = {
  reason: 'MacvlanFailed',
  message:
    'no interface to put the MACVLAN device on: the host has no default route and no network of the desired address; add one'
}

const notEthernet = (parent: string): AppliedFailure => ({
  reason: 'MacvlanFailed',
  message: `the device would stand on ${parent}, which is no Ethernet interface, so no MACVLAN can; give the service an address in the network of one`
})

const NO_WAY = ['TunnelLimitReached', 'PeerNotKnown']

const noTunnel = ({ tunnelsMax }: Marks): AppliedFailure => ({
  reason: 'TunnelLimitReached',
  message: `this host has services with more than ${tunnelsMax} peers, which is all its mark mask has room for; widen the mask`
})

const noPeer = (peer: PeerId): AppliedFailure => ({
  reason: 'PeerNotKnown',
  message: `the service's other end, ${peer}, is no member or has not said yet where it is reached; its packets are refused meanwhile`
})

/**
 * Parent of a service's device: the interface on whose network its address is (of several the one it has), else the one it
 * has, else the interface that leads to that network, else that of the default route.
 */
function parentDevice(name: string, addresses: readonly (string | null)[], facts: HostFacts): string | null {
  const there = facts.links.find(({ ifname }) => ifname === name)
  const has = there != null && isOurs(there) ? there.link : undefined
  const foreign = {
    ...facts,
    ways: facts.ways.filter(({ device }) => !facts.links.some((l) => l.ifname === device && isOurs(l)))
  }
  const networks = addresses.map((address) => (address == null ? null : parsePrefix(address))).filter((n) => n != null)
  const leading = networks.flatMap((network) =>
    foreign.ways.filter((way) => way.network.length > 0 && contains(way.network, network))
  )
  const on = leading.filter(({ direct }) => direct).map(({ device }) => device)
  if (has != null && (on.length === 0 || on.includes(has))) return has
  return on[0] ?? leading[0]?.device ?? defaultDevice(foreign)
}

/** Everything the ruleset and the engines are computed from, once the devices are known. */
export interface SteeringPlan {
  table: RouteTable
  /** Devices by the service that owns them. */
  serviceDevices: Map<ServiceId, string>
  tunnelDevices: Map<PeerId, string>
  /** The ruleset for the ports the engine has chosen. */
  steering(ports: ReadonlyMap<string, number>, generalName: string): Steering
}

export function planSteering(
  desired: DesiredState,
  {
    plan,
    failedDevices,
    facts,
    marks,
    memory = new PlanMemory()
  }: {
    plan: DevicePlan
    failedDevices: ReadonlySet<string>
    facts: HostFacts
    marks: Marks
    memory?: PlanMemory
  }
): SteeringPlan {
  // A device that is not ours must not be steered by its name. What has no way to its target stays in: without it, its
  // packets would follow a broader route, or leave in the clear.
  const isLive = (service: OutboundService): boolean =>
    (!plan.failures.has(service.id) || plan.blocked.has(service.id)) && !failedDevices.has(deviceOf(service) ?? '')
  const isFine = plan.failures.size + failedDevices.size === 0
  const live = isFine ? desired.outbound : desired.outbound.filter(isLive)
  const inbound = memory.inbound.update(
    plan.failures.size === 0 ? desired.inbound : desired.inbound.filter(({ id }) => !plan.failures.has(id))
  )
  const table = memory.table.make(memory.routed.of(live), facts)
  memory.keepPeers(plan.indexes)
  const tunnels = [...plan.indexes].map(([peer, index]) => ({
    index,
    device: tunnelDeviceName(peer),
    covers: memory.coversOf(peer, inbound.of(peer))
  }))
  const members = membersOf(desired.endpoints)
  const transparent = inbound.hasTransparent
  const services = memory.steeredServices(live, plan.indexes, facts, (service) => {
    const device = deviceOf(service)
    const addresses = device == null ? [] : addressesOf(device, facts)
    return { id: service.id, device, addresses, tunnel: plan.indexes.get(service.targetPeer) ?? null, port: null }
  })
  const withDevice =
    memory.outbound.update(desired.outbound).odd.length === 0 ? [] : services.filter(({ device }) => device != null)
  return {
    table,
    serviceDevices: new Map(withDevice.flatMap(({ id, device }) => (device == null ? [] : [[id, device]]))),
    tunnelDevices: new Map([...plan.indexes.keys()].map((peer) => [peer, tunnelDeviceName(peer)])),
    steering: (ports, generalName) => {
      const withPort = (service: SteeredService): SteeredService =>
        service.device == null ? service : { ...service, port: ports.get(service.device) ?? null }
      const withPorts = withDevice.length === 0 ? services : services.map(withPort)
      const own = withDevice.length === 0 ? [] : withPorts.filter(({ device }) => device != null)
      const generalPort = ports.get(generalName) ?? null
      return {
        marks,
        table,
        services: withPorts,
        withDevice: own,
        tunnels,
        members,
        transparent,
        generalPort,
        draining: false
      }
    }
  }
}

const deviceOf = ({ id, interface: device }: OutboundService): string | null =>
  device == null ? null : serviceDeviceName(id)

const membersOf = once(memberEndpoints)

function addressesOf(device: string, { links }: HostFacts): Address[] {
  const link = links.find(({ ifname }) => ifname === device)
  return (link?.addr_info ?? [])
    .filter(({ scope, dadfailed }) => scope !== 'link' && dadfailed !== true)
    .map(({ local }) => parseAddress(local))
    .filter((address) => address != null)
}

/** Whether all that steers packets after a change did so before it. */
export function onlyTakesAway(before: DesiredState | null, after: DesiredState): boolean {
  const peers = new Set(before?.peers.map(peerLine))
  return (
    areWithin(after.outbound, before?.outbound ?? []) &&
    areWithin(after.inbound, before?.inbound ?? []) &&
    after.peers.every((peer) => peers.has(peerLine(peer)))
  )
}

/** Services are mostly the very objects that they were, so only others are looked into. */
function areWithin<S extends OutboundService | InboundService>(after: readonly S[], before: readonly S[]): boolean {
  const splices = splicesOf(before, after)
  const byId = new Map(splices.flatMap(({ removed }) => removed.map((service) => [service.id, service])))
  const others = splices.flatMap(({ inserted }) => inserted)
  return others.every((service) => {
    const was = byId.get(service.id)
    const lines = new Set(was == null ? [] : linesOf(was))
    return linesOf(service).every((line) => lines.has(line))
  })
}

/** All of it but the digest, which names a wish and steers nothing. */
const linesOf = once(({ routes, ...service }: OutboundService | InboundService) =>
  [{ ...service, spec: '' }, ...routes].map((part) => JSON.stringify(part))
)

const peerLine = once((peer: DesiredState['peers'][number]) => JSON.stringify(peer))
