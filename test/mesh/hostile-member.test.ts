import { deepEqual, equal, ok, rejects } from 'node:assert/strict'
import * as fc from 'fast-check'
import { sealEnvelope } from '../../src/crdt/envelope.ts'
import { MisspokenError } from '../../src/mesh/misspoken.ts'
import { parsePage, parseQuestion } from '../../src/mesh/report/page.ts'
import { SYNC_PROTOCOL } from '../../src/mesh/sync/anti-entropy.ts'
import { frames } from '../../src/mesh/sync/frame.ts'
import { cluster, startHost, type Host } from './host.ts'
import { Cleanup, temporaryDirectory, until } from './support.ts'

const JOIN = '/arctic/join/1.0.0'
const REPORT = '/arctic/report/1.0.0'
const signal = (ms = 10_000): AbortSignal => AbortSignal.timeout(ms)
const json = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value))

describe('a member that speaks wrongly', function () {
  this.timeout(60_000)
  const cleanup = new Cleanup()
  let a: Host
  let b: Host
  before(async () => {
    const root = await temporaryDirectory()
    cleanup.later(async () => root[Symbol.asyncDispose]())
    ;[a, b] = [await startHost(root.path, 'a'), await startHost(root.path, 'b')]
    cleanup.later(() => Promise.all([a.stop(), b.stop()]))
    await cluster([a, b])
    await until('both are connected', () => b.network.connected().includes(a.id))
  })
  after(() => cleanup.run())

  const count = (protocol: string, reason: string): number =>
    a.mesh.refusals().find((one) => one.protocol === protocol && one.reason === reason)?.count ?? 0

  /** Sends all of it, waits until the other side ends the stream or has answered, and lets go. */
  async function say(protocol: string, ...messages: Uint8Array[]): Promise<void> {
    const channel = await b.network.open(a.id, protocol, { signal: signal() })
    try {
      for (const message of messages) await channel.send(message)
      await channel.close()
      for (let heard: unknown = true; heard != null;) heard = await channel.receive({ signal: signal(2_000) })
    } catch {
      // A refusal is a reset.
    } finally {
      channel.abort(new Error('said'))
    }
  }

  const digest = frames.digest(new Uint8Array(32))
  for (const [what, protocol, messages, reason] of [
    ['garbage', SYNC_PROTOCOL, [Buffer.from('what?')], 'malformed'],
    ['nothing', SYNC_PROTOCOL, [new Uint8Array()], 'malformed'],
    ['a frame of a newer version', SYNC_PROTOCOL, [Buffer.from('Z1')], 'malformed'],
    ['a digest that is cut short', SYNC_PROTOCOL, [digest.subarray(0, 20)], 'malformed'],
    ['the end before the beginning', SYNC_PROTOCOL, [frames.end()], 'out_of_turn'],
    ['entries before a vector', SYNC_PROTOCOL, [digest, frames.batch([])], 'out_of_turn'],
    ['a vector that is none', SYNC_PROTOCOL, [digest, Buffer.from('V["a"]')], 'malformed'],
    ['a vector and no more', SYNC_PROTOCOL, [digest, frames.vector({})], 'cut_short'],
    [
      'a batch that is cut short',
      SYNC_PROTOCOL,
      [digest, frames.vector({}), Buffer.from('B\0\0\0\u0009x')],
      'malformed'
    ],
    ['a question that is no JSON', REPORT, [Buffer.from('{')], 'malformed'],
    ['a question that is nothing', REPORT, [json(null)], 'malformed'],
    ['a question of another shape', REPORT, [json({ since: 'now', incarnation: {} })], 'malformed'],
    ['a join that is none', JOIN, [json({ token: 7 })], 'malformed']
  ] as const) {
    it(`is refused and counted: ${what}, on ${protocol}`, async () => {
      const noun = protocol.split('/')[2] ?? ''
      const before_ = count(noun, reason)
      await say(protocol, ...messages)
      await until('it is counted', () => count(noun, reason) > before_)
    })
  }

  it('is given up and counted when it asks nothing', async () => {
    const nouns = { [SYNC_PROTOCOL]: 'sync', [REPORT]: 'report', [JOIN]: 'join' }
    const counts = Object.values(nouns).map((noun) => ({ noun, before_: count(noun, 'silent') }))
    const open = Object.keys(nouns).map((protocol) => b.network.open(a.id, protocol, { signal: signal() }))
    const channels = await Promise.all(open)
    // A stream is announced with its first bytes; these are none of a message.
    const heard = channels.map((channel) => channel.receive({ signal: signal(30_000) }).catch(() => null))
    for (const { noun, before_ } of counts)
      await until(`${noun} is counted`, () => count(noun, 'silent') > before_, 30_000)
    await Promise.all(heard)
    for (const channel of channels) channel.abort(new Error('enough'))
  })

  it('is refused and counted: entries of another cluster, which are not stored', async () => {
    const vector = a.replica.vector()
    const foreign = sealEnvelope(b.identity.signer, 'X'.repeat(26), {
      kind: 'kind-9',
      incarnation: 7,
      seq: 1,
      writtenAt: 1,
      body: new Uint8Array(8)
    }).bytes
    const garbage = Buffer.from('no envelope')
    await say(SYNC_PROTOCOL, digest, frames.vector({}), frames.batch([foreign, garbage]), frames.end())
    await until('both are counted', () => count('sync', 'invalid') >= 2)
    deepEqual(a.replica.vector(), vector)
  })

  it('is refused and counted: garbage on the topics', async () => {
    for (const noun of ['changes', 'presence']) {
      await b.network.publish(`arctic/${a.replica.clusterId()}/${noun}/1`, Buffer.from(`nonsense for ${noun}`), 'all')
      await until(`${noun} is counted`, () => count(noun, 'invalid') > 0)
    }
  })

  it('keeps at most two of the places for syncs, so that others get theirs', async () => {
    const held = await Promise.all(
      Array.from({ length: 6 }, () => b.network.open(a.id, SYNC_PROTOCOL, { signal: signal() }))
    )
    const answers = await Promise.all(
      held.map(async (channel) => {
        await channel.send(digest)
        return Buffer.from((await channel.receive({ signal: signal() })) ?? []).toString('latin1', 0, 1)
      })
    )
    ok(answers.filter((type) => type === 'R').length >= 4, answers.join())
    for (const channel of held) channel.abort(new Error('enough'))
  })

  it('changes nothing by whatever bytes: both go on, and what is written arrives', async () => {
    const valid = [digest, frames.vector(a.replica.vector()), frames.end(), json({ since: 0, incarnation: 0 })]
    const noise = fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      fc.tuple(fc.constantFrom(...valid), fc.nat(400), fc.nat(255)).map(([message, at, byte]) => {
        const broken = Uint8Array.from(message)
        if (broken.length > 0) broken[at % broken.length] = byte
        return broken
      })
    )
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(SYNC_PROTOCOL, REPORT, JOIN),
        fc.array(noise, { minLength: 1, maxLength: 3 }),
        async (protocol, messages) => say(protocol, ...messages)
      ),
      { numRuns: 60 }
    )
    const { id } = await b.replica.createService({ source_peer_id: a.id, target_peer_id: b.id })
    await until('it arrives', () => a.replica.view().services.has(id), 20_000)
    await rejects(b.network.open(a.id, '/arctic/sync/9.0.0', { signal: signal() }), /does not answer to/)
  })
})

describe('a page of reports', () => {
  const report = {
    service_id: 'S',
    role: 'source',
    spec: 'x',
    state: 'applied',
    reason: '',
    message: '',
    since: 1,
    effective_transport: null,
    interface: { name: 'a', mac: null, ipv4: null, ipv6: null },
    warnings: [{ reason: 'A', message: 'b' }],
    flows: 0,
    bytes_in: 0,
    bytes_out: 0
  }
  const page = { incarnation: 1, seq: 2, whole: true, more: false, changed: [report], removed: ['T'] }

  it('is read as it was written, without what newer versions add', () => {
    deepEqual(parsePage(json(page)), page)
    deepEqual(parsePage(json({ ...page, colour: 1, changed: [{ ...report, colour: 1 }] })), page)
    const question = { since: 1, incarnation: 2, follow: false }
    deepEqual(parseQuestion(json({ since: 1, incarnation: 2, colour: 3 })), question)
  })

  it('is none with any field of it another, and whatever it is, it is refused with a sentence', () => {
    const values = [undefined, null, -1, 0.5, 'x'.repeat(10_000), {}, [null], true]
    let refused = 0
    const attempt = (bytes: Uint8Array): void => {
      try {
        const read = parsePage(bytes)
        ok(read.changed.every((one) => typeof one.service_id === 'string' && Number.isSafeInteger(one.flows)))
      } catch (error) {
        ok(error instanceof MisspokenError, String(error))
        equal(error.reason, 'malformed')
        refused++
      }
    }
    for (const value of values) {
      for (const field of Object.keys(page)) attempt(json({ ...page, [field]: value }))
      for (const field of Object.keys(report)) attempt(json({ ...page, changed: [{ ...report, [field]: value }] }))
    }
    ok(refused > 80, `${refused}`)
    fc.assert(fc.property(fc.uint8Array({ maxLength: 100 }), attempt))
    fc.assert(fc.property(fc.jsonValue(), (value) => attempt(json(value))))
  })
})
