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
 * A history as the soak makes it: services are made, changed and deleted, some 100 at a time. For programs that measure what
 * becomes of memory, run with --expose-gc.
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
export const fold = new Fold(ledger, actor, (entry: Entry) => bodyOf(entry.bytes as Uint8Array))
fold.isSavedAside = true
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

const idOf = (n: number): string => `01J${n.toString(36).toUpperCase().padStart(23, '0')}`
const services: number[] = []
/** Makes changes until there are so many, all of them on disk unless they are to be read again, which nothing is here. */
export function work(until: number, how: { isDropped: boolean } = { isDropped: true }): void {
  isDropped = how.isDropped
  for (let n = made; made < until; n++) {
    const oldest = services[0]
    if (n % 4 !== 0 && oldest != null) {
      const id = idOf(services[(n * 7) % Math.ceil(services.length / 2)] as number)
      change((writer) => writer.put('services', id, { bandwidth_limit_mbps: n % 1000 }))
    } else if (n % 8 === 0 && services.length >= 100 && oldest != null) {
      services.shift()
      change((writer) => writer.remove('services', idOf(oldest)))
    } else {
      services.push(n)
      change((writer) =>
        writer.put('services', idOf(n), { name: `s${n}`, protocol: 'tcp', bandwidth_limit_mbps: null })
      )
    }
  }
}

/** Bytes, after collecting. */
export const held = (): number => {
  for (let i = 0; i < 4; i++) (globalThis as { gc?: () => void }).gc?.()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}
