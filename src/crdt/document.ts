import { decodeChange, getBackend, init, isImmutableString } from '@automerge/automerge'
import { plainChunk } from './chunk.ts'
import { GENESIS_ACTOR } from './genesis.ts'
import { applyBatchMax } from './limits.ts'

/**
 * The Automerge document behind the state; nothing else touches Automerge. It works on the handle beneath Automerge's
 * plain-object layer: a change costs 0.07 ms whether there are 1,000 or 10,000 records, the layer above it 0.3 to 0.9.
 *
 *   root = { peers: { <peer id>: record }, services: { <ULID>: record }, routes: { <ULID>: record } }
 *
 * Two peers that change different fields of a record both win; deleting a record beats changing it. Whatever is applied
 * here must have been verified before: Automerge itself authenticates nothing.
 */
export class Document {
  readonly #handle: Handle
  readonly #kinds: Record<Kind, string>

  /** A document that begins with the genesis change. `actor` is who its own changes are by. */
  constructor(genesisChunk: Uint8Array, actor?: string) {
    this.#handle = getBackend(init(actor == null ? {} : { actor }))
    this.#handle.applyChanges([genesisChunk])
    this.#kinds = Object.fromEntries(
      KINDS.map((kind) => {
        const found = this.#handle.getWithType('_root', kind)
        if (found?.[0] !== 'map') throw new Error(`the genesis makes no map of ${kind}`)
        return [kind, found[1]]
      })
    ) as Record<Kind, string>
  }

  apply(chunks: Uint8Array[]): void {
    for (let i = 0; i < chunks.length; i += applyBatchMax) {
      this.#handle.applyChanges(chunks.slice(i, i + applyBatchMax))
    }
  }

  /** Makes one change of its own by `write` and returns it; null when nothing was written. */
  change(write: (writer: Writer) => void): Uint8Array | null {
    const handle = this.#handle
    const kinds = this.#kinds
    try {
      write({
        put(kind, id, fields) {
          const found = handle.getWithType(kinds[kind], id)
          const object = found?.[0] === 'map' ? found[1] : handle.putObject(kinds[kind], id, {})
          for (const [field, value] of Object.entries(fields)) putValue(handle, object, field, value)
        },
        remove(kind, id) {
          handle.delete(kinds[kind], id)
        }
      })
    } catch (error) {
      handle.rollback()
      throw error
    }
    if (handle.pendingOps() === 0) return null
    handle.commit(null, 0)
    const chunk = handle.getLastLocalChange()
    if (chunk == null) throw new Error('Automerge made no change of what was written')
    return plainChunk(chunk)
  }

  /** The record as it was merged; undefined when there is none. It may hold anything that a member wrote. */
  read(kind: Kind, id: string): unknown {
    const found = this.#handle.getWithType(this.#kinds[kind], id)
    if (found == null) return undefined
    return found[0] === 'map' ? plain(this.#handle.materialize(found[1])) : null
  }

  heads(): string[] {
    return this.#handle.getHeads()
  }

  /** Gives the memory back. The document must not be used any more. */
  free(): void {
    this.#handle.free()
  }
}

export const KINDS = ['peers', 'services', 'routes'] as const
export type Kind = (typeof KINDS)[number]

export interface Writer {
  /** Sets these fields of a record, which is made when there is none; its other fields stay. */
  put(kind: Kind, id: string, fields: Record<string, FieldValue>): void
  remove(kind: Kind, id: string): void
}
export type FieldValue = string | number | boolean | null | string[]

/** One operation of a change, as far as it matters here. */
export interface Operation {
  /** `counter@actor`: the id of the object that it makes, if it makes one. */
  id: string
  /** The object that it changes: `_root` or such an id. */
  object: string
  key: string
  makes: boolean
}

/** What a verified change does. Throws for bytes that are no change to Automerge, whoever signed them. */
export function operationsOf(chunk: Uint8Array): Operation[] {
  const { ops, startOp, actor } = decodeChange(chunk)
  return ops.map((op, i) => ({
    id: `${startOp + i}@${actor}`,
    object: op.obj,
    key: String(op.key),
    makes: op.action.startsWith('make')
  }))
}

/** The change that makes the root maps: the same bytes for each cluster. */
export function genesisChunk(): Uint8Array {
  const handle: Handle = getBackend(init({ actor: GENESIS_ACTOR }))
  for (const kind of KINDS) handle.putObject('_root', kind, {})
  handle.commit(null, 0)
  const chunk = handle.getLastLocalChange()
  if (chunk == null) throw new Error('Automerge made no first change')
  return plainChunk(chunk)
}

/** Objects that the genesis makes, by their operation's place in it. */
export const GENESIS_OBJECTS: ReadonlyMap<string, Kind> = new Map(
  KINDS.map((kind, i) => [`${i + 1}@${GENESIS_ACTOR}`, kind])
)

type Handle = ReturnType<typeof getBackend>

/** Automerge's own wrapper of whole strings, taken off. */
function plain(value: unknown): unknown {
  if (typeof value !== 'object' || value == null) return value
  if (isImmutableString(value)) return value.toString()
  if (Array.isArray(value)) return value.map(plain)
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]))
}

function putValue(handle: Handle, object: string, field: string, value: FieldValue): void {
  if (!Array.isArray(value)) {
    handle.put(object, field, value)
    return
  }
  const list = handle.putObject(object, field, [])
  for (const item of value) handle.push(list, item)
}
