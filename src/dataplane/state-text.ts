import { once } from '../once.ts'

/**
 * An engine's state as JSON. It is mostly made of the objects of the state before, and what was written of these is not
 * written again. `gap` stands between the items of lists and fields: a newline for people, nothing for a line.
 */
export function stateText(value: unknown, gap: '' | '\n'): string {
  if (Array.isArray(value)) return `[${gap}${value.map((item) => itemText(item, gap)).join(`,${gap}`)}]`
  if (typeof value !== 'object' || value == null) return JSON.stringify(value)
  const fields = Object.entries(value).filter(([, field]) => field !== undefined)
  return `{${gap}${fields.map(([name, field]) => `${JSON.stringify(name)}:${stateText(field, gap)}`).join(`,${gap}`)}}`
}

/** Of one item of a list. */
export function itemText(item: unknown, gap: '' | '\n' = ''): string {
  if (typeof item !== 'object' || item == null) return JSON.stringify(item)
  return flatText(item) ?? stateText(item, gap)
}

/** Null for what holds more objects than lists, whose parts are kept by themselves. */
const flatText = once((item: object) =>
  Object.values(item).some((field) => typeof field === 'object' && field != null && !Array.isArray(field))
    ? null
    : JSON.stringify(item)
)
