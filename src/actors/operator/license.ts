import type { PeerId } from '../../crdt/schema.ts'
import type { LicenseState } from '../../license.ts'
import type { OperatorDeps } from './deps.ts'

export interface LicenseJson {
  /** `community` without a good licence. */
  edition: string
  holder: string | null
  /** What is in force: the lower one of the licence's and the cluster policy's; null is none. */
  limits: { services: number | null }
  usage: { services: number; peers: number }
  issued_at: string | null
  expires_at: string | null
  /** Where the licence was looked for; null when there is none. */
  file: string | null
  /** Why the file does not count, and what to do. */
  problem: string | null
  /** The peer whose licence this is: each agent has its own. */
  peer: PeerId
}

/** A limit, and who set it in words that end "that is all …". */
export interface ServicesLimit {
  max: number
  who: string
}

/** What the licence of this agent allows; null is no limit. The policy's is the replica's business. */
export function licensedServices({ license }: LicenseState): ServicesLimit | null {
  const max = license?.limits.services
  return max == null ? null : { max, who: `the licence of ${license?.holder} allows` }
}

export function licenseJson({ license, replica, mesh }: OperatorDeps): LicenseJson {
  const { license: held, file, problem } = license()
  const { services, members, policy } = replica.view()
  const limits = [held?.limits.services, policy.max_services].filter((limit) => limit != null)
  return {
    edition: held?.edition ?? 'community',
    holder: held?.holder ?? null,
    limits: { services: limits.length === 0 ? null : Math.min(...limits) },
    usage: { services: services.size, peers: members.size },
    issued_at: held?.issued_at ?? null,
    expires_at: held?.expires_at ?? null,
    file,
    problem,
    peer: mesh.self
  }
}
