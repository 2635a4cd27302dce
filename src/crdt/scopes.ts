/** What a token may be good for. `admin` is all of it; `X.write` holds `X.read`. */

export const RESOURCES = ['cluster', 'peers', 'services', 'routes', 'tokens', 'license', 'actors'] as const

export type Scope = `${(typeof RESOURCES)[number]}.${'read' | 'write'}` | 'admin'

export const SCOPES: readonly Scope[] = [
  ...RESOURCES.flatMap((resource) => [`${resource}.read`, `${resource}.write`] as const),
  'admin'
]

/** True when what is held allows what is wanted. */
export function covers(held: readonly string[], wanted: Scope): boolean {
  return held.includes('admin') || held.includes(wanted) || held.includes(wanted.replace(/\.read$/, '.write'))
}
