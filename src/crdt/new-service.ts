import { PeerNotFoundError, ServiceLimitExceededError, TargetPeerNotAdmittedError } from '../errors.ts'
import type { ServiceRecord } from './schema.ts'
import type { View } from './view.ts'

/**
 * Whether a service may come into being, or come back. Asked of who writes it and of nobody else: a service that somebody
 * was promised never falls out because another came first. ServiceLimitExceededError, PeerNotFoundError,
 * TargetPeerNotAdmittedError.
 */
export function checkNewService({ members, services, policy }: View, service: ServiceRecord): void {
  const { source_peer_id: source, target_peer_id: target } = service
  if (policy.max_services != null && services.size >= policy.max_services) {
    throw new ServiceLimitExceededError(policy.max_services, 'the cluster policy allows')
  }
  if (!members.has(source)) throw new PeerNotFoundError(source, 'it is not a member, so it cannot be a source')
  if (!members.has(target)) throw new TargetPeerNotAdmittedError(target, 'not a member')
}
