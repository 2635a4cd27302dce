import type { Kind } from './document.ts'
import type { MadeRecord } from './made-records.ts'

/** What stands under an id: a record, or what was there once, by the operation that had made it. */
export type Standing = MadeRecord | { readonly gone: string }

/** Of every record, what the valid changes have made of it. */
export interface ToldRecords {
  /** undefined: nothing was ever there; null: only Automerge can tell. */
  told(kind: Kind, id: string): Standing | null | undefined
  /** All that only Automerge can tell. */
  left(): Iterable<readonly [kind: Kind, id: string]>
}
