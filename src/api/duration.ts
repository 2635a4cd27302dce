const SECONDS = { s: 1, m: 60, h: 3600, d: 86_400 } as const

/** `90s`, `15m`, `1h30m`, `90d` → whole seconds above zero, else null. */
export function durationSeconds(text: string): number | null {
  if (!/^(\d{1,9}[smhd])+$/.test(text)) return null
  let seconds = 0
  for (const [, amount, unit] of text.matchAll(/(\d+)([smhd])/g)) {
    seconds += Number(amount) * SECONDS[unit as keyof typeof SECONDS]
  }
  return seconds > 0 ? seconds : null
}
