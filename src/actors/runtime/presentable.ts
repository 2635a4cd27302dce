import { isSecretName } from '../../redact.ts'
import { contextDepthMax, contextItemsMax, contextTextMax } from '../limits.ts'

/**
 * An actor's context as JSON for a person: data as it is, long lists and texts cut with a word about the rest, and what
 * is no data (functions, live parts of the agent) left out.
 */
export function presentable(context: unknown): Record<string, unknown> {
  const shown = show(context, 0)
  return shown != null && typeof shown === 'object' && !Array.isArray(shown) ? (shown as Record<string, unknown>) : {}
}

function show(value: unknown, depth: number): unknown {
  if (value == null || typeof value === 'boolean') return value
  if (typeof value === 'number') return Number.isFinite(value) ? value : String(value)
  if (typeof value === 'string') return value.length > contextTextMax ? `${value.slice(0, contextTextMax)}…` : value
  if (typeof value === 'bigint') return value.toString()
  if (typeof value !== 'object') return undefined
  if (value instanceof Error) return value.message
  if (value instanceof Map) return shorten([...value.entries().take(contextItemsMax)], value.size, depth)
  if (value instanceof Set) return shorten([...value.values().take(contextItemsMax)], value.size, depth)
  if (Array.isArray(value)) return shorten(value.slice(0, contextItemsMax), value.length, depth)
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) return undefined
  const entries = Object.entries(value).filter(([, inner]) => typeof inner !== 'function')
  // A bundle of functions is a part of the agent, not data.
  if (entries.length === 0 && Object.keys(value).length > 0) return undefined
  if (depth >= contextDepthMax) return '…'
  return Object.fromEntries(
    entries.flatMap(([key, inner]) => {
      // Contexts hold no secrets; this is for the day one slips in.
      const shown = isSecretName(key) && typeof inner === 'string' ? '[not shown]' : show(inner, depth + 1)
      return shown === undefined ? [] : [[key, shown]]
    })
  )
}

function shorten(items: unknown[], size: number, depth: number): unknown {
  if (depth >= contextDepthMax) return `… ${size} items`
  const shown = items.map((item) => show(item, depth + 1))
  return size > items.length ? [...shown, `… ${size - items.length} more`] : shown
}
