import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import * as fc from 'fast-check'
import { parseAuthEntry } from '../../src/crdt/authlog.ts'
import { MalformedError } from '../../src/crdt/bytes.ts'
import { readOperations } from '../../src/crdt/change-reader.ts'
import { parseEnvelope, type Envelope } from '../../src/crdt/envelope.ts'
import { parseGenesis } from '../../src/crdt/genesis.ts'
import { parseInviteBytes } from '../../src/crdt/invite.ts'
import { openEnvelope } from '../../src/crdt/ledger.ts'
import { scanLog } from '../../src/crdt/log-scan.ts'
import { ArcticError } from '../../src/errors.ts'
import { parseReply, parseRequest } from '../../src/mesh/actor-protocol/frame.ts'
import { parseQuestion as parseJoin, readAnswer } from '../../src/mesh/join/answer.ts'
import { parseBeat } from '../../src/mesh/presence/beat.ts'
import { parsePage, parseQuestion } from '../../src/mesh/report/page.ts'
import { parseFrame } from '../../src/mesh/sync/frame.ts'
import { memoryDisk } from '../crdt/support/memory-disk.ts'
import { plainSnapshot } from '../crdt/support/plain-snapshot.ts'

/** Whatever is read of others, or of a disk that may have gone bad; null: refused without an error. */
const READERS: Record<string, (bytes: Uint8Array) => unknown> = {
  envelope: (bytes) => openEnvelope(parseEnvelope(bytes), { own: false }),
  change: readOperations,
  auth: (body) => parseAuthEntry({ body, author: new Uint8Array(32), authorId: 'somebody' } as unknown as Envelope),
  genesis: parseGenesis,
  invite: parseInviteBytes,
  snapshot: plainSnapshot,
  log: async (bytes) => {
    const disk = memoryDisk()
    await disk.write('log', bytes)
    return scanLog('log', 'now', disk)
  },
  sync: parseFrame,
  'report question': parseQuestion,
  'report page': parsePage,
  'join question': parseJoin,
  'join answer': readAnswer,
  'actor request': parseRequest,
  'actor reply': parseReply,
  beat: parseBeat
}

/** Per reader: what is in it, whether it is read, and its bytes in hex. What a run finds is added, and stays. */
const corpus = Object.entries(
  JSON.parse(readFileSync(new URL('../corpus/wire.json', import.meta.url), 'utf8')) as Record<
    string,
    Array<[name: string, outcome: 'read' | 'refused', hex: string]>
  >
).map(([reader, entries]) => ({
  reader,
  entries: entries.map(([name, outcome, hex]) => ({ name, outcome, bytes: new Uint8Array(Buffer.from(hex, 'hex')) }))
}))

/** What becomes of it; anything but a refusal is a failure. */
async function outcomeOf(reader: string, bytes: Uint8Array): Promise<'read' | 'refused'> {
  try {
    return (await READERS[reader]?.(bytes)) == null ? 'refused' : 'read'
  } catch (error) {
    // Nothing else may come out of a parser: a crash would be a way to stop every agent at once.
    assert.ok(
      error instanceof MalformedError || error instanceof ArcticError,
      `${Buffer.from(bytes).toString('hex')}: ${error}`
    )
    return 'refused'
  }
}

describe('what comes from others', function () {
  this.timeout(60_000)

  it('has every reader in the corpus', () => {
    assert.deepEqual(corpus.map(({ reader }) => reader).sort(), Object.keys(READERS).sort())
  })

  for (const { reader, entries } of corpus) {
    it(`is read or refused as ever: ${reader}`, async () => {
      for (const { name, outcome, bytes } of entries) assert.equal(await outcomeOf(reader, bytes), outcome, name)
    })

    it(`is read or refused with anything in it changed: ${reader}`, async () => {
      const one = fc.constantFrom(...entries.map(({ bytes }) => bytes))
      const changed = fc.oneof(
        fc.tuple(one, fc.nat(), fc.nat(255)).map(([bytes, at, byte]) => {
          const other = bytes.slice()
          if (bytes.length > 0) other[at % bytes.length] = byte
          return other
        }),
        fc.tuple(one, fc.nat()).map(([bytes, at]) => bytes.subarray(0, at % (bytes.length + 1))),
        fc
          .tuple(one, one, fc.nat(), fc.nat())
          .map(([a, b, from, to]) =>
            Buffer.concat([a.subarray(0, from % (a.length + 1)), b.subarray(to % (b.length + 1))])
          ),
        fc.tuple(one, fc.nat(), fc.uint8Array({ maxLength: 12 })).map(([bytes, at, more]) => {
          const place = at % (bytes.length + 1)
          return Buffer.concat([bytes.subarray(0, place), more, bytes.subarray(place)])
        })
      )
      await fc.assert(
        fc.asyncProperty(changed, async (bytes) => {
          await outcomeOf(reader, new Uint8Array(bytes))
        }),
        { numRuns: 1000 }
      )
    })
  }
})
