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
