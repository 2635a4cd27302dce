import assert from 'node:assert/strict'
import * as fc from 'fast-check'
import { parseEnvelope } from '../../src/crdt/envelope.ts'
import type { Replica } from '../../src/crdt/replica.ts'
import type { View } from '../../src/crdt/view.ts'
import { Bench, invite, Observer, peerRecord, pull, serviceInput, signer, state } from './support.ts'

const essence = ({ members, services, routes, routesOf, heads, rejected }: View): unknown => ({
  members: [...members].sort(([a], [b]) => (a < b ? -1 : 1)),
  services: [...services],
  routes: [...routes],
  routesOf: [...routesOf],
  heads,
  rejected: rejected.map(({ hash }) => hash).sort()
})

describe('crdt/convergence', function () {
  this.timeout(60_000)
  const bench = new Bench()
  after(() => bench.clean())

  /** Everything that four members wrote while they heard little of each other, and one invite was redeemed twice. */
  async function history(): Promise<{ genesis: Uint8Array; envelopes: Uint8Array[]; replicas: Replica[] }> {
    const a = await bench.founder(1)
    const b = await bench.joiner(a, 2)
    await pull(a, b)
    const token = invite(a, 1)
    // Partition: a admits c, b admits d, both with the last use.
    const [c, d] = [await bench.open(await bench.dir(), signer(3)), await bench.open(await bench.dir(), signer(4))]
    await a.admit({ token, peer: c.self, name: 'c' })
    await b.admit({ token, peer: d.self, name: 'd' })
    await c.adopt({ ...a.bootstrap(), token })
    await d.adopt({ ...b.bootstrap(), token })
    await c.putPeer(peerRecord(c.self, 'c'))
    await d.putPeer(peerRecord(d.self, 'd'))
    const service = await a.createService(serviceInput(a, b, { name: 'one' }))
    await pull(c, a)
    await pull(b, a)
    await Promise.all([
      a.updateService(service.id, { name: 'by a' }),
      b.updateService(service.id, { bandwidth_limit_mbps: 5 }),
      c.updateService(service.id, { name: 'by c', transport_type: 'kcp' })
    ])
    const [route] = await b.addRoutes(service.id, [{ dest_cidr: '10.0.0.0/8' }, { source_cidr: '10.1.0.0/16' }])
    const second = await c.createService(serviceInput(b, a, { name: 'two', requires_interface: true }))
    await c.addRoutes(second.id, [{}])
    await pull(a, c)
    // A route that one side adds to a service which the other side deletes, and one that loses its footing.
    const third = await d.createService(serviceInput(a, b, { name: 'by d' }))
    await d.addRoutes(third.id, [{ dest_cidr: 'fd00::/8' }])
    await a.deleteService(second.id)
    await c.addRoutes(second.id, [{ dest_cidr: '10.9.0.0/16' }])
    await b.updateRoute(service.id, route?.id ?? '', { priority: 7 })
    const all = new Map<string, Uint8Array>()
    for (const replica of [a, b, c, d]) {
      for (const bytes of replica.bootstrap().envelopes) all.set(parseEnvelope(bytes).hash, bytes)
    }
    return { genesis: a.bootstrap().genesis, envelopes: [...all.values()], replicas: [a, b, c, d] }
  }

  it('any order, batching and duplication of the same envelopes gives equal heads, members and records', async () => {
    const { genesis, envelopes } = await history()
    const expected = new Observer(genesis)
    expected.take(envelopes)
    assert.equal(expected.view.members.size, 3)
    assert.ok(expected.view.services.size > 0)
    const order = fc.shuffledSubarray(
      envelopes.flatMap((bytes) => [bytes, bytes]),
      { minLength: envelopes.length * 2 }
    )
    fc.assert(
      fc.property(order, fc.integer({ min: 1, max: 12 }), (list, size) => {
        const observer = new Observer(genesis)
        for (let i = 0; i < list.length; i += size) observer.take(list.slice(i, i + size))
        assert.deepEqual(essence(observer.view), essence(expected.view))
      }),
      { numRuns: 100 }
    )
  })

  it('two redemptions of one invite end the same everywhere: the first stands, the other and its work are out', async () => {
    const { replicas } = await history()
    const [a, b, c, d] = replicas as [Replica, Replica, Replica, Replica]
    for (let round = 0; round < 3; round++) {
      for (const to of replicas) for (const from of replicas) if (to !== from) await pull(to, from)
    }
    for (const replica of [b, c, d]) assert.deepEqual(state(replica), state(a))
    assert.ok(a.isMember(c.self))
    assert.equal(a.isMember(d.self), false)
    assert.deepEqual(
      [...a.view().services.values()].map(({ name }) => name).filter((name) => name === 'by d'),
      []
    )
    assert.ok(a.view().rejected.some(({ reason }) => /invite was used up/.test(reason)))
    assert.ok(a.view().rejected.some(({ author }) => author === d.self))
    await assert.rejects(d.createService(serviceInput(a, b)), /NotInClusterError/)
  })

  it('replicas that lose, repeat and reorder gossip agree after they compared vectors', async () => {
    const a = await bench.founder(1)
    const replicas = [a]
    for (const n of [2, 3, 4, 5]) replicas.push(await bench.joiner(a, n))
    for (const to of replicas) for (const from of replicas) if (to !== from) await pull(to, from)
    await fc.assert(
      fc.asyncProperty(fc.infiniteStream(fc.nat(1_000_000)), async (stream) => {
        const dice = (sides: number): number => (stream.next().value ?? 0) % sides
        const pick = <T>(list: readonly T[]): T => list[dice(list.length)] as T
        const wire: Array<{ to: Replica; from: Replica; bytes: Uint8Array }> = []
        const stops = replicas.map((from) =>
          from.onLocal((bytes) => {
            for (const to of replicas) {
              if (to === from) continue
              for (let copies = dice(4) - 1; copies > 0; copies--) wire.push({ to, from, bytes })
            }
          })
        )
        for (let step = 0; step < 30; step++) {
          const by = pick(replicas)
          const services = [...by.view().services.keys()]
          const id = services.length === 0 ? '' : pick(services)
          const what = dice(6)
          const change =
            what === 0 || id === ''
              ? by.createService({ source_peer_id: replicas[0]?.self ?? '', target_peer_id: replicas[1]?.self ?? '' })
              : what === 1
                ? by.deleteService(id)
                : what === 2
                  ? by.addRoutes(id, [{ dest_cidr: `10.${dice(256)}.0.0/16`, priority: dice(300) }])
                  : by.updateService(id, { name: `n${dice(1000)}` })
          await change
          while (wire.length > 0 && dice(3) > 0) {
            const [message] = wire.splice(dice(wire.length), 1)
            if (message != null) await message.to.receive([message.bytes], message.from.self)
          }
        }
        for (const stop of stops) stop()
        for (let round = 0; round < 2; round++) {
          for (const to of replicas) for (const from of replicas) if (to !== from) await pull(to, from, 2000)
        }
        const [first, ...others] = replicas.map(state)
        for (const other of others) assert.deepEqual(other, first)
        const vectors = replicas.map((replica) => replica.vector())
        for (const vector of vectors) assert.deepEqual(vector, vectors[0])
      }),
      { numRuns: 8 }
    )
  })

  it('an author whose admission comes later is heard then, from memory', async () => {
    const a = await bench.founder(1)
    const b = await bench.joiner(a, 2)
    const c = await bench.joiner(b, 3)
    const mine = [...c.missing(a.vector(), 1)].flat()
    const fromC = mine.filter((bytes) => parseEnvelope(bytes).authorId === c.self)
    const rest = mine.filter((bytes) => parseEnvelope(bytes).authorId !== c.self)
    const early = await a.receive(fromC, c.self)
    assert.deepEqual(early, { accepted: 0, known: 0, refused: [], gap: true })
    assert.equal(a.isMember(c.self), false)
    assert.equal(a.check(fromC[0] as Uint8Array), 'ignore')
    const late = await a.receive(rest, c.self)
    assert.equal(late.accepted, mine.length)
    assert.equal(a.check(fromC[0] as Uint8Array), 'accept')
    assert.deepEqual(state(a), state(c))
  })
})
