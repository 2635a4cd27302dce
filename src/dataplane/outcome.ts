import type { ServiceId, TransportType } from '../crdt/schema.ts'
import type { AppliedFailure, AppliedService, DesiredState } from './desired.ts'
import type { DeviceError } from './devices.ts'
import { serviceDeviceName, tunnelDeviceName } from './devices.ts'
import type { EngineError, EngineName } from './engine-protocol.ts'
import type { HostFacts } from './interfaces.ts'
import { inboundWarnings, outboundWarnings, type Forwarding } from './warnings.ts'

export interface ApplyOutcome {
  /** Failures found while planning. */
  planned: ReadonlyMap<ServiceId, AppliedFailure>
  deviceFailures: ReadonlyMap<string, DeviceError>
  engineErrors: { engine: EngineName; error: EngineError }[]
  facts: HostFacts
  forwarding: Forwarding
}

/** What is in force, service by service: a pure reading of how the steps of an apply went. */
export function appliedServices(desired: DesiredState, outcome: ApplyOutcome): Map<ServiceId, AppliedService> {
  const { facts, forwarding } = outcome
  const services = new Map<ServiceId, AppliedService>()
  for (const service of desired.outbound) {
    const device = service.interface == null ? null : serviceDeviceName(service.id)
    const failure = failureOf(service.id, service.targetPeer, device, outcome)
    services.set(service.id, {
      spec: service.spec,
      failure,
      warnings: outboundWarnings(service, facts, forwarding),
      effectiveTransport: effective(service.transport, failure),
      interface: device == null ? null : interfaceOf(device, facts)
    })
  }
  for (const service of desired.inbound) {
    const failure = failureOf(service.id, service.sourcePeer, null, outcome)
    services.set(service.id, {
      spec: service.spec,
      failure,
      warnings: inboundWarnings(service, facts, forwarding),
      effectiveTransport: effective(service.transport, failure),
      interface: null
    })
  }
  return services
}

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

const effective = (transport: TransportType, failure: AppliedFailure | null): TransportType | null =>
  failure == null ? transport : null

function interfaceOf(name: string, facts: HostFacts): AppliedService['interface'] {
  const link = facts.links.find(({ ifname }) => ifname === name)
  if (link == null) return null
  const address = (family: 'inet' | 'inet6'): string | null => {
    const found = link.addr_info.find((info) => info.family === family && info.scope === 'global')
    return found == null ? null : `${found.local}/${found.prefixlen}`
  }
  return { name, mac: link.address ?? null, ipv4: address('inet'), ipv6: address('inet6') }
}
