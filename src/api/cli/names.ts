/** `-o name`: `service/01J…` per line, for scripts. What has no id is left out. */
export function namesOf(value: unknown, kind: string): string {
  const ids = [value].flat().flatMap((row) => {
    const id = (row as { id?: unknown } | null)?.id
    return typeof id === 'string' ? [id] : []
  })
  return ids.map((id) => `${kind}/${id}\n`).join('')
}

/**
 * Takes back what `namesOf` gave: `service/01J…` → `01J…`. Everything else stays: a peer may be named `a/b`.
 */
export function idOf(text: string): string {
  return (
    /^(?:service|route|peer|token|cluster|change)\/([0-7][0-9A-HJKMNP-TV-Z]{25}|12D3Koo\w+|[0-9a-f]{64})$/.exec(
      text
    )?.[1] ?? text
  )
}
