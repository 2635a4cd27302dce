import assert from 'node:assert/strict'
import { getBackend, init } from '@automerge/automerge'
import { FIRST } from '../../src/crdt/authlog.ts'
import { concat, u8 } from '../../src/crdt/bytes.ts'
import { plainChunk } from '../../src/crdt/chunk.ts'
import { actorOf, bodyOf, parseEnvelope, sealEnvelope, type EnvelopeKind } from '../../src/crdt/envelope.ts'
import { parseGenesis } from '../../src/crdt/genesis.ts'
import type { Replica } from '../../src/crdt/replica.ts'
import { Bench, invite, pull, signer, state } from './support.ts'

const newer = signer(3)
const ID = '01J00000000000000000000000'

/** The whole document as a newer agent would find it. */
function documentOf(replica: Replica): Record<string, Record<string, Record<string, Record<string, unknown>>>> {
  const { genesis, envelopes } = replica.bootstrap()
  const handle = getBackend(init({}))
  const changes = envelopes.filter((bytes) => parseEnvelope(bytes).kind === 'change')
  handle.applyChanges([parseGenesis(genesis).chunk, ...changes.map(bodyOf)])
  return handle.materialize('_root') as never
}

describe('crdt: what a newer agent writes', function () {
  this.timeout(60_000)
  const bench = new Bench()
  afterEach(() => bench.clean())

  /** A cluster in which one member is newer than the others, and what that one has written. */
  async function story(): Promise<{ a: Replica; b: Replica; written: Uint8Array[] }> {
    const a = await bench.founder(1)
    const b = await bench.joiner(a, 2)
    await a.admit({ token: invite(a), peer: newer.peerId, name: 'newer' })
    await pull(a, b)
    await pull(b, a)
    const clusterId = a.clusterId() ?? ''
    const seal = (kind: EnvelopeKind, seq: number, body: Uint8Array): Uint8Array =>
      sealEnvelope(newer, clusterId, { kind, incarnation: 1, seq, writtenAt: 1_800_000_000_000 + seq, body }).bytes

    const handle = getBackend(init({ actor: actorOf('change', newer.publicKey, 1) }))
    handle.applyChanges([parseGenesis(a.bootstrap().genesis).chunk])
    const gadgets = handle.putObject('_root', 'gadgets', {})
    handle.put(gadgets, 'first', 1)
    const bucket = handle.getWithType(handle.getWithType('_root', 'services')?.[1] as string, bucketName(ID))?.[1]
    const service = handle.putObject(bucket as string, ID, {})
    const fields = {
      name: 'of tomorrow',
      source_peer_id: a.self,
      target_peer_id: b.self,
      transport_type: 'tcp',
      requires_interface: false,
      desired_ipv4_cidr: null,
      desired_ipv6_cidr: null,
      bandwidth_limit_mbps: 0,
      fully_transparent: false,
      created_at: '2026-01-01T00:00:00.000Z',
      updated_at: '2026-01-01T00:00:00.000Z',
      colour: 'green'
    }
    for (const [field, value] of Object.entries(fields)) handle.put(service, field, value)
    handle.put(handle.putObject(service, 'limits', {}), 'packets', 7)
    handle.commit(null, 0)
    const change = plainChunk(handle.getLastLocalChange() as Uint8Array)
    const operation = concat([u8(77), Buffer.from(FIRST, 'hex'), Buffer.from('whatever it says')])
    return {
      a,
      b,
      written: [seal('change', 1, change), seal('kind-9', 1, Buffer.from('news')), seal('auth', 1, operation)]
    }
  }

  it('is held, folded as far as it is known, and handed on as it was', async () => {
    const { a, b, written } = await story()
    assert.deepEqual(
      written.map((bytes) => a.check(bytes)),
      ['accept', 'accept', 'accept']
    )
    assert.deepEqual(await a.receive(written, b.self), { accepted: 3, known: 0, refused: [], gap: false })
    await pull(b, a)
    assert.equal(b.view().services.get(ID)?.name, 'of tomorrow')
    assert.deepEqual(state(b), state(a))
    const held = new Set(b.bootstrap().envelopes.map((bytes) => Buffer.from(bytes).toString('hex')))
    for (const bytes of written) assert.ok(held.has(Buffer.from(bytes).toString('hex')))
    const kinds = (await b.history({ author: newer.peerId })).map(({ kind, objects, verified, valid }) => ({
      kind,
      actions: objects.map(({ action }) => action),
      verified,
      valid
    }))
    assert.deepEqual(kinds.map(({ kind }) => kind).sort(), ['auth', 'change', 'other'])
    assert.ok(kinds.every(({ verified, valid }) => verified && valid))
  })

  it('survives an update by this version, a restart, and the revocation of its author', async () => {
    const { a, b, written } = await story()
    await b.receive(written, a.self)
    await b.updateService(ID, { name: 'of today', bandwidth_limit_mbps: 5 })
    await pull(a, b)
    const dir = bench.dirOf(a)
    await a.close()
    const again = await bench.open(dir, signer(1))
    assert.deepEqual(state(again), state(b))
    const record = documentOf(again)['services']?.[bucketName(ID)]?.[ID]
    assert.equal(String(record?.['colour']), 'green')
    assert.deepEqual(record?.['limits'], { packets: 7 })
    assert.equal(record?.['bandwidth_limit_mbps'], 5)
    assert.deepEqual(documentOf(again)['gadgets'], { first: 1 })
    assert.equal(again.view().services.get(ID)?.name, 'of today')
    // The cut names all that it has written, of whatever kind.
    await again.revoke(newer.peerId)
    await pull(b, again)
    assert.deepEqual(state(b), state(again))
    assert.equal(b.view().services.get(ID)?.name, 'of today')
  })
})

/** See `document.ts`: FNV-1a, one byte of it. */
function bucketName(id: string): string {
  let hash = 0x811c9dc5
  for (let i = 0; i < id.length; i++) hash = Math.imul(hash ^ id.charCodeAt(i), 0x01000193)
  return ((hash >>> 0) % 256).toString(16).padStart(2, '0')
}
