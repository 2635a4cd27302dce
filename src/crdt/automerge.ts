import { createRequire } from 'node:module'
import type * as Automerge from '@automerge/automerge'

let loaded: typeof Automerge | null = null

/**
 * Automerge, loaded when it is first used: its 3.6 MB of WebAssembly take as long as a bare Node takes to start, and a start
 * from the log, and most of what comes from others, goes without (`known-records.ts`).
 */
export function automerge(): typeof Automerge {
  return (loaded ??= createRequire(import.meta.url)('@automerge/automerge') as typeof Automerge)
}
