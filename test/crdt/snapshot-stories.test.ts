import assert from 'node:assert/strict'
import * as fc from 'fast-check'
import { parseChunk } from '../../src/crdt/chunk.ts'
import { hex } from '../../src/crdt/bytes.ts'
import type { Disk } from '../../src/crdt/disk.ts'
import { Document } from '../../src/crdt/document.ts'
import { bodyOf, parseEnvelope } from '../../src/crdt/envelope.ts'
import { parseGenesis } from '../../src/crdt/genesis.ts'
import type { Replica } from '../../src/crdt/replica.ts'
import { decodeSnapshot } from '../../src/crdt/snapshot.ts'
import { ArcticError } from '../../src/errors.ts'
import { Bench, invite, Observer, peerRecord, pull, serviceInput, signer, state } from './support.ts'
import { memoryDisk } from './support/memory-disk.ts'

/**
 * Three peers write the same few things, hear of each other now and then, throw one out, and start again from their snapshots:
 * whatever has happened, each shows what the whole history comes to, and what Automerge makes of what counts in it.
 */
describe('crdt/snapshot, told as stories', function () {
  this.timeout(900_000)

  it('a start from a snapshot and what came after it comes to what the history comes to, for 60 stories', async () => {
    const met = { told: 0, revoked: 0, written: 0 }
    await fc.assert(
      fc.asyncProperty(fc.array(step(), { minLength: 12, maxLength: 40 }), async (steps) => {
        const story = new Story()
        try {
          await story.begin()
          for (const one of steps) await story.tell(one)
          await story.check()
          for (const key of Object.keys(met) as Array<keyof typeof met>) met[key] += story.met[key]
        } finally {
          await story.bench.clean()
        }
      }),
      { numRuns: 60, endOnFailure: true }
    )
    assert.ok(met.told > 200 && met.revoked > 10 && met.written > 300, JSON.stringify(met))
  })
})

const WHATS =
  'create route update update update reroute remove pull pull pull restart restart revoke revoke role'.split(' ')

type Step = { what: string; who: number; which: number }

const step = (): fc.Arbitrary<Step> =>
  fc.record({ what: fc.constantFrom(...WHATS), who: fc.nat(1000), which: fc.nat(1000) })

const EVERY = 4

class Story {
  readonly bench = new Bench()
  readonly #disks: Disk[] = []
  #peers: Replica[] = []
  readonly met = { told: 0, revoked: 0, written: 0 }

  async begin(): Promise<void> {
    for (let n = 0; n < 3; n++) {
      const disk = memoryDisk()
      this.#disks.push(disk)
      const peer = await this.#open(n)
      const [first] = this.#peers
      this.#peers.push(peer)
      if (first == null) await peer.init({ name: 'home', record: peerRecord(peer.self, 'p0') })
      else {
        const token = invite(first)
        await first.admit({ token, peer: peer.self, name: `p${n}` })
        await peer.adopt({ ...first.bootstrap(), token })
        await peer.putPeer(peerRecord(peer.self, `p${n}`))
        await pull(first, peer)
      }
    }
    const [a, b] = this.#peers as [Replica, Replica]
    for (const name of ['x', 'y']) {
      const { id } = await a.createService(serviceInput(a, b, { name }))
      await a.addRoutes(id, [{ dest_cidr: '10.0.0.0/8' }])
    }
    for (const peer of this.#peers.slice(1)) await pull(peer, a)
  }

  /** A step that is not allowed, by then, is left out. */
  async tell(one: Step): Promise<void> {
    try {
      await this.#tell(one)
      if (!['pull', 'restart'].includes(one.what)) this.met.written++
    } catch (error) {
      if (!(error instanceof ArcticError)) throw error
    }
  }

  /** After one more start of each, everybody has heard of everything. */
  async check(): Promise<void> {
    for (let n = 0; n < 3; n++) await this.#restart(n)
    const [a] = this.#peers as [Replica]
    for (let round = 0; round < 2; round++) {
      for (const to of this.#peers) for (const from of this.#peers) if (to !== from) await pull(to, from)
    }
    // What fell out is written again in the background.
    await new Promise((resolve) => setTimeout(resolve, 5))
    for (const peer of this.#peers) {
      const whole = new Observer(a.bootstrap().genesis)
      whole.take([...peer.missing({}, Infinity)].flat())
      assert.deepEqual(state(peer), state({ view: () => whole.view } as Replica))
      await merged(peer, a.bootstrap().genesis)
    }
    this.met.revoked += a.view().departed?.size ?? 0
  }

  async #tell({ what, who, which }: Step): Promise<void> {
    const n = who % this.#peers.length
    const peer = this.#peers[n] as Replica
    const other = this.#peers[which % this.#peers.length] as Replica
    const services = [...peer.view().services.keys()]
    const service = services[which % Math.max(1, services.length)] ?? ''
    switch (what) {
      case 'create':
        await peer.createService(serviceInput(peer, other, { name: `s${which}` }))
        break
      case 'route':
        await peer.addRoutes(service, [{ dest_cidr: `10.${which % 250}.0.0/16` }])
        break
      case 'update':
        await peer.updateService(service, which % 2 === 0 ? { name: `t${which}` } : { bandwidth_limit_mbps: who })
        break
      case 'reroute':
        await peer.updateRoute(service, peer.view().routesOf.get(service)?.[0]?.id ?? '', { priority: which })
        break
      case 'remove':
        if (which % 2 === 0) await peer.deleteService(service)
        else await peer.deleteRoute(service, peer.view().routesOf.get(service)?.[0]?.id ?? '')
        break
      case 'pull':
        if (peer !== other) await pull(peer, other)
        break
      case 'restart':
        await this.#restart(n)
        break
      case 'role':
        if (other !== this.#peers[0]) await peer.setRole(other.self, which % 2 === 0 ? 'member' : 'admin')
        break
      case 'revoke':
        if (other === this.#peers[2]) await peer.revoke(other.self)
    }
  }

  async #open(n: number): Promise<Replica> {
    return this.bench.open(`/peer-${n}`, signer(n + 1), this.#disks[n] as Disk, EVERY, 1_000_000)
  }

  async #restart(n: number): Promise<void> {
    // A snapshot that is being taken ends.
    await new Promise((resolve) => setTimeout(resolve, 2))
    const replica = this.#peers[n] as Replica
    const before = state(replica)
    await replica.close()
    const file = await this.#disks[n]?.read(`/peer-${n}/cluster/snapshot`)
    if (file != null && decodeSnapshot(file).head.told != null) this.met.told++
    const again = await this.#open(n)
    assert.deepEqual(state(again), before)
    this.#peers[n] = again
  }
}

/** Compares services and routes with those in Automerge's document of all that counts. */
async function merged(peer: Replica, genesis: Uint8Array): Promise<void> {
  const counting = new Set((await peer.history({ limit: 10_000 })).flatMap(({ id, valid }) => (valid ? [id] : [])))
  const changes = [...peer.missing({}, Infinity)].flat().filter((bytes) => counting.has(parseEnvelope(bytes).hash))
  const chunks = changes.filter((bytes) => parseEnvelope(bytes).kind === 'change').map(bodyOf)
  const document = new Document(parseGenesis(genesis).chunk)
  document.apply(chunks.map((chunk) => ({ hash: hex(parseChunk(chunk).hash), chunk })))
  const { services, routes } = peer.view()
  for (const [kind, records] of [
    ['services', services],
    ['routes', routes]
  ] as const) {
    for (const [id, { id: _, ...record }] of records) assert.deepEqual(record, document.read(kind, id))
  }
  for (const id of await touched(peer, 'service')) {
    if (!services.has(id)) assert.equal(document.read('services', id), undefined)
  }
  document.free()
}

/** All ids of a kind that the history names. */
async function touched(peer: Replica, kind: string): Promise<Set<string>> {
  const history = await peer.history({ limit: 10_000 })
  return new Set(history.flatMap(({ objects }) => objects.flatMap((one) => (one.kind === kind ? [one.id] : []))))
}
