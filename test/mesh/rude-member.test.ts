import { rejects } from 'node:assert/strict'
import { ACTOR_PROTOCOL } from '../../src/mesh/actor-protocol/actors.ts'
import { JOIN_PROTOCOL } from '../../src/mesh/join/admission.ts'
import { actorFrameBytesMax, messageBytesMax, questionBytesMax } from '../../src/mesh/limits.ts'
import { SYNC_PROTOCOL } from '../../src/mesh/sync/anti-entropy.ts'
import { cluster, startHost, type Host } from './host.ts'
import { ended, rawMember, type RawMember } from './raw-member.ts'
import { Cleanup, temporaryDirectory, until } from './support.ts'

const REPORT_PROTOCOL = '/arctic/report/1.0.0'
const header = (bytes: number): Uint8Array => {
  const written = Buffer.alloc(4)
  written.writeUInt32BE(bytes)
  return written
}

describe('a member without manners', function () {
  this.timeout(120_000)
  const cleanup = new Cleanup()
  let a: Host
  let b: Host
  let rude: RawMember
  before(async () => {
    const root = await temporaryDirectory()
    cleanup.later(async () => root[Symbol.asyncDispose]())
    const c = await startHost(root.path, 'c')
    ;[a, b] = [await startHost(root.path, 'a'), await startHost(root.path, 'b')]
    cleanup.later(() => Promise.all([a.stop(), b.stop()]))
    await cluster([a, b, c])
    await c.stop()
    rude = await rawMember(c.identity, a)
    cleanup.later(() => rude.stop())
  })
  after(() => cleanup.run())

  const count = (protocol: string, reason: string): number =>
    protocol === 'actors'
      ? (a.mesh.actors.refused().get('malformed') ?? 0)
      : (a.mesh.refusals().find((one) => one.protocol === protocol && one.reason === reason)?.count ?? 0)

  for (const [protocol, noun, bytes] of [
    [SYNC_PROTOCOL, 'sync', 0xffff_ffff],
    [SYNC_PROTOCOL, 'sync', questionBytesMax + 1],
    [REPORT_PROTOCOL, 'report', 0xffff_ffff],
    [REPORT_PROTOCOL, 'report', questionBytesMax + 1],
    [ACTOR_PROTOCOL, 'actors', actorFrameBytesMax + 1],
    [JOIN_PROTOCOL, 'join', messageBytesMax + 1]
  ] as const) {
    it(`is refused and counted before it has sent them: ${bytes} bytes on ${protocol}`, async () => {
      const before_ = count(noun, 'oversized')
      const stream = await rude.open(protocol)
      stream.send(header(bytes))
      await ended(stream)
      await until('it is counted', () => count(noun, 'oversized') > before_)
    })
  }

  for (const [protocol, noun, reason] of [
    [SYNC_PROTOCOL, 'sync', 'cut_short'],
    [REPORT_PROTOCOL, 'report', 'cut_short'],
    [JOIN_PROTOCOL, 'join', 'cut_short'],
    [ACTOR_PROTOCOL, 'actors', 'malformed']
  ] as const) {
    it(`is counted when it ends in the middle of a message on ${protocol}`, async () => {
      const before_ = count(noun, reason)
      const stream = await rude.open(protocol)
      stream.send(header(100))
      stream.send(new Uint8Array(10))
      await stream.close()
      await until('it is counted', () => count(noun, reason) > before_)
    })

    it(`is answered by nobody when it asks for a version to come of ${protocol}`, async () => {
      await rejects(rude.open(protocol.replace('/1.0.0', '/9.0.0')))
    })
  }

  it('is cut off when it takes for ever over one message, whatever the protocol', async () => {
    const protocols = [SYNC_PROTOCOL, REPORT_PROTOCOL, JOIN_PROTOCOL, ACTOR_PROTOCOL]
    const streams = await Promise.all(protocols.map((protocol) => rude.open(protocol)))
    for (const stream of streams) stream.send(header(200))
    const dribble = setInterval(() => {
      for (const stream of streams) if (stream.status === 'open') stream.send(Uint8Array.of(0x7b))
    }, 250)
    try {
      await Promise.all(streams.map(ended))
    } finally {
      clearInterval(dribble)
    }
  })

  it('is refused when it asks actors in answers, and says before it asks', async () => {
    for (const words of ['{"type":"answer","id":1,"value":null}', '{"type":"withdraw"}', '[]', '{"type":"ask"}']) {
      const before_ = count('actors', 'malformed')
      const stream = await rude.open(ACTOR_PROTOCOL)
      stream.send(header(words.length))
      stream.send(Buffer.from(words))
      await ended(stream)
      await until('it is counted', () => count('actors', 'malformed') > before_)
    }
  })

  it('is cut off when it dribbles a message, and keeps no other peer from its sync', async () => {
    const stream = await rude.open(SYNC_PROTOCOL)
    stream.send(header(33))
    const dribble = setInterval(() => {
      if (stream.status === 'open') stream.send(Uint8Array.of(68))
    }, 500)
    try {
      const { id } = await b.replica.createService({ source_peer_id: b.id, target_peer_id: a.id })
      await until('what the other peer wrote is here', () => a.replica.view().services.has(id), 60_000)
      await ended(stream)
    } finally {
      clearInterval(dribble)
    }
  })
})
