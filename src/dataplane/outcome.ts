import type { ServiceId, TransportType } from '../crdt/schema.ts'
import { SortedMap } from '../crdt/sorted-map.ts'
import { roadTo, type CutOffPeers } from './cut-off.ts'
import type { AppliedFailure, AppliedService, DesiredState, InboundService, OutboundService } from './desired.ts'
import type { DeviceError } from './devices.ts'
import { serviceDeviceName, tunnelDeviceName } from './devices.ts'
import type { EngineError, EngineName } from './engine-protocol.ts'
import type { HostFacts } from './interfaces.ts'
import type { LostReturnPath } from './pegasus.ts'
import { splicesOf } from './splices.ts'
import { inboundWarnings, outboundWarnings, type Forwarding } from './warnings.ts'

export interface ApplyOutcome {
  /** Failures found while planning. */
  planned: ReadonlyMap<ServiceId, AppliedFailure>
  deviceFailures: ReadonlyMap<string, DeviceError>
  engineErrors: { engine: EngineName; error: EngineError }[]
  facts: HostFacts
  forwarding: Forwarding
  /** By parent of services' devices: why nothing may come in by them. */
  parentTroubles: ReadonlyMap<string, AppliedFailure>
  /** Fully transparent services whose destinations' answers go another way. */
  returnPaths: ReadonlyMap<ServiceId, LostReturnPath>
  cutOff: CutOffPeers
}

/** What is in force, service by service: a pure reading of how the steps of an apply went. In the order of ids. */
export const appliedServices = (desired: DesiredState, outcome: ApplyOutcome): SortedMap<AppliedService> =>
  new AppliedMemory().services(desired, outcome)

/** The same, worked out anew only of services that are others, as long as nothing goes wrong. Of one host. */
export class AppliedMemory {
  #before: { desired: DesiredState; outcome: ApplyOutcome; services: SortedMap<AppliedService> } | null = null

  services(desired: DesiredState, outcome: ApplyOutcome): SortedMap<AppliedService> {
    const before = this.#before
    const isLike =
      before != null && isUneventful(outcome) && isUneventful(before.outcome) && onSameHost(before.outcome, outcome)
    const services = isLike
      ? changedServices(before.services, before.desired, desired, outcome)
      : SortedMap.of(eachService(desired, outcome))
    this.#before = { desired, outcome, services }
    return services
  }
}

/** What is said of a service then follows from the service and the host. */
const isUneventful = ({ planned, deviceFailures, engineErrors, returnPaths, cutOff }: ApplyOutcome): boolean =>
  planned.size + deviceFailures.size + engineErrors.length + returnPaths.size + cutOff.size === 0

const onSameHost = (a: ApplyOutcome, b: ApplyOutcome): boolean =>
  a.facts === b.facts &&
  hostOf(a).forwards === hostOf(b).forwards &&
  JSON.stringify([...a.parentTroubles]) === JSON.stringify([...b.parentTroubles])

function changedServices(
  services: SortedMap<AppliedService>,
  before: DesiredState,
  after: DesiredState,
  outcome: ApplyOutcome
): SortedMap<AppliedService> {
  const outbound = splicesOf(before.outbound, after.outbound)
  const inbound = splicesOf(before.inbound, after.inbound)
  let changed = services
  for (const { removed } of [...outbound, ...inbound]) for (const { id } of removed) changed = changed.without(id)
  const come = {
    ...after,
    outbound: outbound.flatMap(({ inserted }) => inserted),
    inbound: inbound.flatMap(({ inserted }) => inserted)
  }
  for (const [id, service] of eachService(come, outcome)) changed = changed.with(id, service)
  return changed
}

function eachService(desired: DesiredState, outcome: ApplyOutcome): Map<ServiceId, AppliedService> {
  const { facts } = outcome
  const host = hostOf(outcome)
  const services = new Map<ServiceId, AppliedService>()
  const isFine = outcome.planned.size + outcome.deviceFailures.size + outcome.engineErrors.length === 0
  for (const service of desired.outbound) {
    const cutOff =
      outcome.cutOff.size === 0 ? undefined : outcome.cutOff.get(roadTo(service.targetPeer, service.transport))
    if (isFine && service.interface == null && cutOff == null) {
      services.set(service.id, outboundInForce(service, host))
      continue
    }
    const device = service.interface == null ? null : serviceDeviceName(service.id)
    const failure = failureOf(service.id, service.targetPeer, device, outcome) ?? cutOff ?? null
    services.set(service.id, {
      spec: service.spec,
      failure,
      warnings: [
        ...outboundRemarks(service, host),
        ...parentTrouble(device, outcome),
        ...addressTrouble(device, facts)
      ],
      effectiveTransport: effective(service.transport, failure),
      interface: device == null ? null : interfaceOf(device, facts)
    })
  }
  for (const service of desired.inbound) {
    if (isFine && !outcome.returnPaths.has(service.id)) {
      services.set(service.id, inboundInForce(service, host))
      continue
    }
    const failure = failureOf(service.id, service.sourcePeer, null, outcome)
    services.set(service.id, {
      spec: service.spec,
      failure,
      warnings: [...inboundRemarks(service, host), ...lost(outcome.returnPaths.get(service.id))],
      effectiveTransport: effective(service.transport, failure),
      interface: null
    })
  }
  return services
}

/** What remarks depend on besides the service, and that in one text. */
interface Host {
  facts: HostFacts
  forwarding: Forwarding
  forwards: string
}

function hostOf({ facts, forwarding }: ApplyOutcome): Host {
  return { facts, forwarding, forwards: `${[...forwarding.ipv4].join()} ${forwarding.ipv6}` }
}

/** Of services; worked out anew only for another service, or when the host is not what it was. */
function onHost<S extends object, V>(work: (service: S, host: Host) => V): (service: S, host: Host) => V {
  const known = new WeakMap<S, { host: Host; found: V }>()
  return (service, host) => {
    const held = known.get(service)
    if (held != null && held.host.facts === host.facts && held.host.forwards === host.forwards) return held.found
    const found = work(service, host)
    known.set(service, { host, found })
    return found
  }
}

const outboundRemarks = onHost((service: OutboundService, { facts, forwarding }) =>
  outboundWarnings(service, facts, forwarding)
)
const inboundRemarks = onHost((service: InboundService, { facts, forwarding }) =>
  inboundWarnings(service, facts, forwarding)
)

/** Without a device and with nothing gone wrong, as nearly all are. */
const inForce = (
  { spec, transport }: OutboundService | InboundService,
  warnings: AppliedFailure[]
): AppliedService => ({ spec, failure: null, warnings, effectiveTransport: transport, interface: null })
const outboundInForce = onHost((service: OutboundService, host) => inForce(service, outboundRemarks(service, host)))
const inboundInForce = onHost((service: InboundService, host) => inForce(service, inboundRemarks(service, host)))

/** The first thing that went wrong, from the ground up: plan, devices, engines. */
function failureOf(id: ServiceId, peer: string, device: string | null, outcome: ApplyOutcome): AppliedFailure | null {
  const planned = outcome.planned.get(id)
  if (planned != null) return planned
  for (const name of [device, tunnelDeviceName(peer)]) {
    const failed = name == null ? undefined : outcome.deviceFailures.get(name)
    if (failed != null) return { reason: failed.reason, message: failed.message }
  }
  const objects = new Set([`service:${id}`, `peer:${peer}`, 'engine'])
  const found = outcome.engineErrors.find(({ error }) => objects.has(error.object))
  if (found == null) return null
  const { engine, error } = found
  return { reason: error.code, message: `${engine}: ${error.message}` }
}

function parentTrouble(device: string | null, { facts, parentTroubles }: ApplyOutcome): AppliedFailure[] {
  const link = device == null ? undefined : facts.links.find(({ ifname }) => ifname === device)
  if (link?.link == null) return []
  // The kernel tells of the device what it knows of the interface beneath: down, or without a carrier.
  if (!link.flags.includes('LOWER_UP')) {
    const message = `the device stands on ${link.link}, which is down or has no carrier: nothing comes in by it until that is up`
    return [{ reason: 'ParentDown', message }]
  }
  const trouble = parentTroubles.get(link.link)
  return trouble == null ? [] : [trouble]
}

function addressTrouble(device: string | null, { links }: HostFacts): AppliedFailure[] {
  const link = links.find(({ ifname }) => ifname === device)
  return (link?.addr_info ?? [])
    .filter(({ dadfailed }) => dadfailed === true)
    .map(({ local }) => ({
      reason: 'AddressInUse',
      message: `another host on the network of ${link?.link ?? device} has ${local} already, so the device does not use it; give the service another address`
    }))
}

function lost(path: LostReturnPath | undefined): AppliedFailure[] {
  if (path == null) return []
  const [client, destination] = [withoutPort(path.client), path.destination]
  return [
    {
      reason: 'RepliesElsewhere',
      message: `${destination} answers this host but not connections from ${client}: its answers to clients' addresses go another way; route ${client} on ${withoutPort(destination)}, or on its gateway, through this host`
    }
  ]
}

const withoutPort = (address: string): string => address.replace(/^\[?(.*?)\]?:\d+$/, '$1')

const effective = (transport: TransportType, failure: AppliedFailure | null): TransportType | null =>
  failure == null ? transport : null

function interfaceOf(name: string, facts: HostFacts): AppliedService['interface'] {
  const link = facts.links.find(({ ifname }) => ifname === name)
  if (link == null) return null
  const address = (family: 'inet' | 'inet6'): string | null => {
    const found = link.addr_info.find(
      (info) => info.family === family && info.scope === 'global' && info.dadfailed !== true
    )
    return found == null ? null : `${found.local}/${found.prefixlen}`
  }
  return { name, mac: link.address ?? null, ipv4: address('inet'), ipv6: address('inet6') }
}
