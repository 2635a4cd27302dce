import type { Doc } from '@automerge/automerge'
import { automerge } from '../../src/crdt/automerge.ts'
import { plainChunk } from '../../src/crdt/chunk.ts'
import { actorOf, bodyOf, parseEnvelope, sealEnvelope } from '../../src/crdt/envelope.ts'
import type { Entry } from '../../src/crdt/entries.ts'
import { Fold } from '../../src/crdt/fold.ts'
import { parseGenesis } from '../../src/crdt/genesis.ts'
import { Ledger, openEnvelope } from '../../src/crdt/ledger.ts'
import type { SimHost } from './host.ts'

/** The document as it is, with what this version leaves out of its views. */
type Raw = Record<string, Record<string, Record<string, Record<string, unknown>>>>

/** Far from the incarnations that a host's own agent has. */
const incarnation = 2_000_000

/** Who writes so by a host's key. */
export const newerActorOf = (host: SimHost): string => actorOf('change', host.signer.publicKey, incarnation)

/**
 * What an agent of a version to come writes by this host's key: a field more in some service, and a kind of records of
 * which this version has never heard. Answers what was written, as path and value; null when there is no service yet,
 * or not all that it has written counts. Another write of the same host must have ended.
 */
export async function writeNovelty(host: SimHost): Promise<Array<[path: string, value: number]> | null> {
  const replica = host.agent?.replica
  const service = [...(replica?.view().services.keys() ?? [])].sort()[0]
  if (replica == null || service == null) return null
  const { genesis, doc, counting } = read(host)
  const { change, getLastLocalChange, ImmutableString } = automerge()
  // One that was lost with the answer stands, and has its number.
  const seq = (replica.vector()[newerActorOf(host)] ?? 0) + 1
  // What builds on a change that does not count would not count either.
  if (counting !== seq - 1) return null
  const field = `newer_${host.index}`
  const next = change(doc, { time: 0 }, (raw) => {
    const bucket = Object.values(raw.services ?? {}).find((one) => Object.hasOwn(one, service))
    const record = bucket?.[service]
    if (record == null) return
    record[field] = seq
    const kind = raw[field]
    if (kind == null)
      raw[field] = { all: { one: { made: seq, label: new ImmutableString('a record of a newer kind') } } }
    else if (kind.all?.one != null) kind.all.one.made = seq
  })
  const body = plainChunk(getLastLocalChange(next) ?? new Uint8Array())
  const writtenAt = host.agent?.clock.now() ?? 0
  const parts = { kind: 'change', incarnation, seq, writtenAt, body } as const
  const { refused } = await replica.receive([sealEnvelope(host.signer, genesis.clusterId, parts).bytes], host.id)
  if (refused.length > 0) throw new Error(`a newer version's change is refused: ${refused[0]?.reason}`)
  return [
    [`services ${service} ${field}`, seq],
    [`${field} one made`, seq]
  ]
}

export interface Novelties {
  /** What stands at such a path in what a host holds; undefined for nothing. */
  at(path: string): unknown
  /** The author of the change without a right for whose sake this one does not count; null when it counts, or is not here. */
  felledBy(author: SimHost, seq: number): string | null
}

export function noveltiesOf(host: SimHost): Novelties {
  const { doc, ledger, fold } = read(host)
  const raw = automerge().toJS(doc) as Raw
  return {
    at(path) {
      const [kind = '', id = '', field = ''] = path.split(' ')
      return Object.values(raw[kind] ?? {}).find((bucket) => Object.hasOwn(bucket, id))?.[id]?.[field]
    },
    felledBy(author, seq) {
      let entry = ledger.at(newerActorOf(author), seq)
      if (entry == null || entry.valid) return null
      while (fold.isSound(entry)) {
        const fallen: Entry | undefined = entry.deps.find(({ valid }) => !valid)
        if (fallen == null) return null
        entry = fallen
      }
      return entry.authorId
    }
  }
}

/** `counting`: changes of the newer version's by this host that do. */
function read(host: SimHost): {
  genesis: ReturnType<typeof parseGenesis>
  ledger: Ledger
  fold: Fold
  doc: Doc<Raw>
  counting: number
} {
  const bootstrap = host.agent!.replica.bootstrap()
  const genesis = parseGenesis(bootstrap.genesis)
  const ledger = new Ledger(genesis)
  // Verified before they were stored.
  const held = bootstrap.envelopes.map((bytes) => {
    const entry = ledger.add(openEnvelope(parseEnvelope(bytes), { own: true }))
    return { entry, bytes }
  })
  const bytesOf = new Map(held.map(({ entry, bytes }) => [entry.hash, bytes]))
  const actor = newerActorOf(host)
  // Marks whose changes count, as each peer does.
  const fold = new Fold(ledger, actor, (entry) => bodyOf(bytesOf.get(entry.hash) ?? new Uint8Array()))
  const valid = held.filter(({ entry }) => entry.kind === 'change' && entry.valid)
  const chunks = [genesis.chunk, ...valid.map(({ bytes }) => bodyOf(bytes))]
  const { applyChanges, init } = automerge()
  const counting = valid.filter(({ entry }) => entry.actor === actor).length
  return { genesis, ledger, fold, counting, doc: applyChanges<Raw>(init<Raw>({ actor }), chunks)[0] }
}
