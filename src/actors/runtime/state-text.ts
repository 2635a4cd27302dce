/** A machine's state value as text: `active`, `open.draining`, parallel regions joined by a comma. */
export function stateText(value: unknown): string {
  if (typeof value === 'string') return value
  return Object.entries(value as Record<string, unknown>)
    .map(([key, inner]) =>
      typeof inner === 'object' && inner != null && Object.keys(inner).length === 0 ? key : `${key}.${stateText(inner)}`
    )
    .join(', ')
}
