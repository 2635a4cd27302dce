/** What decided about a route. From `interface` on these are the points of the contract's order, in that order. */
export const RULES = [
  'never_taken',
  'no_match',
  'only_match',
  'interface',
  'source_and_destination',
  'source_only',
  'destination_only',
  'longer_source_prefix',
  'longer_destination_prefix',
  'higher_priority',
  'smaller_route_id'
] as const
export type Rule = (typeof RULES)[number]
