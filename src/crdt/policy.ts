import { InvalidRequestError } from '../errors.ts'
import { servicesPolicyMax } from './limits.ts'
import type { Policy } from './schema.ts'

/** The one record of its kind: what the cluster allows itself. */
export const POLICY_ID = 'cluster'

/** What is in force while nobody has set anything. */
export const DEFAULT_POLICY: Policy = { max_services: null }

export const POLICY_FIELDS = ['max_services'] as const

/** Canonical form. A field that nobody has set has its default. */
export function checkPolicy(policy: Partial<Policy>): Policy {
  const { max_services = null } = policy
  if (
    max_services != null &&
    !(Number.isInteger(max_services) && max_services >= 0 && max_services <= servicesPolicyMax)
  ) {
    throw new InvalidRequestError(`max_services must be a whole number from 0 to ${servicesPolicyMax}, or null`, {
      field: 'max_services'
    })
  }
  return { max_services }
}
