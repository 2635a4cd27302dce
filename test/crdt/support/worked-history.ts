import { createHash } from 'node:crypto'
import { mkdtempSync, rmdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../../../src/clock.ts'
import { systemDisk } from '../../../src/crdt/disk.ts'
import { type Writer } from '../../../src/crdt/document.ts'
import { genesisChunk } from '../../../src/crdt/genesis-change.ts'
import type { Entry } from '../../../src/crdt/entries.ts'
import { actorOf, bodyOf, sealEnvelope } from '../../../src/crdt/envelope.ts'
import { Fold } from '../../../src/crdt/fold.ts'
import { createGenesis } from '../../../src/crdt/genesis.ts'
import { Ledger, openEnvelope } from '../../../src/crdt/ledger.ts'
import type { Scratch } from '../../../src/crdt/scratch.ts'
import { signer } from '../support.ts'

/**
 * A history as the soak makes it: of nine changes six are of a service, one makes a service, one its route and one deletes both;
 * there are some 100 at a time. For programs that measure what becomes of memory, run with --expose-gc.
 */
const me = signer(1)
const genesis = createGenesis(me, {
  name: 'memory',
  createdAt: systemClock.now(),
  nonce: new Uint8Array(16),
  chunk: genesisChunk()
})
const directory = mkdtempSync(join(tmpdir(), 'arctic-history-'))
/** Old entries are where an agent has them. */
const scratch = (): Scratch | null => systemDisk.scratch?.(directory) ?? null
process.once('exit', () => rmdirSync(directory))
export const ledger = new Ledger(genesis, scratch)
const actor = actorOf('change', me.publicKey, 1)
export const fold = new Fold(ledger, actor, (entry: Entry) => bodyOf(entry.bytes as Uint8Array), { isSavedAside: true })
let made = 0

/** Whether changes are where they can be read from a log, or else kept. */
let isDropped = true

function change(write: (writer: Writer) => void): void {
  const body = fold.write(write)
  if (body == null) return
  const seq = ledger.count(actor) + 1
  const parts = { kind: 'change', incarnation: 1, seq, writtenAt: systemClock.now(), body } as const
  const entry = ledger.add(openEnvelope(sealEnvelope(me, genesis.clusterId, parts), { own: true }))
  fold.took(entry)
  if (isDropped) entry.dropBytes()
  made++
}

const BASE32 = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'
/** As random as real ones in their last sixteen characters, and the same in each run. */
function idOf(kind: string, n: number): string {
  const digest = createHash('sha256').update(`${kind} ${n}`).digest()
  return `01J8ZQ0000${Array.from(digest.subarray(0, 16), (byte) => BASE32[byte & 31]).join('')}`
}

const services: number[] = []
/** Makes changes until there are so many, all of them on disk unless they are to be read again, which nothing is here. */
export function work(until: number, how: { isDropped: boolean } = { isDropped: true }): void {
  isDropped = how.isDropped
  for (let n = made; made < until; n++) {
    const oldest = services[0]
    if (n % 4 !== 0 && oldest != null) {
      const id = idOf('service', services[(n * 7) % Math.ceil(services.length / 2)] as number)
      change((writer) => writer.put('services', id, { bandwidth_limit_mbps: n % 1000 }))
    } else if (n % 8 === 0 && services.length >= 100 && oldest != null) {
      services.shift()
      change((writer) => {
        writer.remove('routes', idOf('route', oldest))
        writer.remove('services', idOf('service', oldest))
      })
    } else {
      services.push(n)
      const id = idOf('service', n)
      change((writer) => writer.put('services', id, { name: `s${n}`, protocol: 'tcp', bandwidth_limit_mbps: null }))
      if (made < until)
        change((writer) =>
          writer.put('routes', idOf('route', n), { service_id: id, dest_cidr: `10.0.${n & 255}.0/24` })
        )
    }
  }
}

/** Bytes after collecting: those of V8's heap, and those outside it. */
export const held = (): [heap: number, outside: number] => {
  for (let i = 0; i < 4; i++) (globalThis as { gc?: () => void }).gc?.()
  const { heapUsed, external } = process.memoryUsage()
  return [heapUsed, external]
}
