import type { Cell, Colour } from './table.ts'

/** Values as people read them; JSON and YAML get them as they are. */

export function bytes(count: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']
  let value = count
  let unit = 0
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit++
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`
}

/** `1d 4h`, `3m 20s`: the two largest units. */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds))
  const parts: Array<[number, string]> = [
    [Math.floor(whole / 86_400), 'd'],
    [Math.floor(whole / 3600) % 24, 'h'],
    [Math.floor(whole / 60) % 60, 'm'],
    [whole % 60, 's']
  ]
  const first = parts.findIndex(([amount]) => amount > 0)
  if (first < 0) return '0s'
  return parts
    .slice(first, first + 2)
    .filter(([amount]) => amount > 0)
    .map(([amount, unit]) => `${amount}${unit}`)
    .join(' ')
}

/** How long ago an ISO time was. */
export function age(time: string | null, now: number): string {
  const then = time == null ? Number.NaN : Date.parse(time)
  return Number.isNaN(then) ? '-' : duration((now - then) / 1000)
}

export const milliseconds = (value: number | null): string => (value == null ? '-' : `${Number(value.toFixed(1))} ms`)

export const orDash = (value: string | number | null | undefined): string =>
  value == null || value === '' ? '-' : String(value)

export const yesNo = (value: boolean): string => (value ? 'yes' : 'no')

/** Every peer id starts with the same eight characters; 16 tell peers apart and are taken as a prefix. */
export const shortPeer = (id: string): string => id.slice(0, 16)

const COLOURS: Record<string, Colour> = {
  active: 'green',
  admitted: 'green',
  ready: 'green',
  yes: 'green',
  pending: 'yellow',
  starting: 'yellow',
  discovered: 'yellow',
  deleting: 'yellow',
  degraded: 'red',
  revoked: 'red',
  failed: 'red',
  error: 'red',
  no: 'red',
  stopped: 'dim',
  done: 'dim'
}

/** A word for a state, in its colour. */
export function state(word: string): Cell {
  const colour = Object.hasOwn(COLOURS, word) ? COLOURS[word] : undefined
  return colour == null ? word : { text: word, colour }
}
