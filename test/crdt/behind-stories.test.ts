import assert from 'node:assert/strict'
import * as fc from 'fast-check'
import type { Disk } from '../../src/crdt/disk.ts'
import type { Replica } from '../../src/crdt/replica.ts'
import { ArcticError } from '../../src/errors.ts'
import { Bench, invite, Observer, peerRecord, pull, serviceInput, signer, state } from './support.ts'
import { memoryDisk } from './support/memory-disk.ts'

/**
 * Whatever has happened, and whatever goes on meanwhile: who joins by a snapshot shows, and in the end holds, what one has
 * that takes the whole history.
 */
describe('crdt/behind, told as stories', function () {
  this.timeout(900_000)

  it('a snapshot and the whole history come to the same, for 200 stories', async () => {
    let restarts = 0
    let writes = 0
    await fc.assert(
      fc.asyncProperty(
        fc.array(step(), { minLength: 6, maxLength: 16 }),
        fc.array(step(), { maxLength: 10 }),
        async (before, after) => {
          const story = new Story()
          try {
            await story.begin()
            for (const one of before) await story.tell(one)
            await story.join()
            for (const one of after) await story.tell(one)
            await story.check()
            await story.end()
            restarts += story.restarts
            writes += story.written
          } finally {
            await story.bench.clean()
          }
        }
      ),
      { numRuns: 200, endOnFailure: true }
    )
    assert.ok(restarts > 20, `${restarts} restarts while the history was incomplete`)
    assert.ok(writes > 30, `${writes} writes on top of a snapshot`)
  })
})

type Step = { what: (typeof WHATS)[number]; who: number; which: number }

const WHATS = [
  'create',
  'route',
  'update',
  'remove',
  'undo',
  'policy',
  'pull',
  'pull',
  'fill',
  'fill',
  'restart',
  'epoch',
  'role',
  'revoke',
  'admit'
] as const

const step = (): fc.Arbitrary<Step> =>
  fc.record({ what: fc.constantFrom(...WHATS), who: fc.nat(1000), which: fc.nat(1000) })

const EVERY = 6
/** The one that joins by a snapshot, and the first one that comes later. */
const JOINER = 9
const LATER = 20

class Story {
  readonly bench = new Bench()
  readonly #disks = new Map<number, Disk>()
  readonly #numbers = new Map<Replica, number>()
  #peers: Replica[] = []
  #joiner: Replica | null = null
  #next = LATER
  restarts = 0
  written = 0

  async begin(): Promise<void> {
    const a = await this.#open(1)
    await a.init({ name: 'home', record: peerRecord(a.self, 'p1') })
    this.#peers.push(a)
    for (const n of [2]) {
      const token = invite(a)
      const peer = await this.#open(n)
      await a.admit({ token, peer: peer.self, name: `p${n}` })
      await peer.adopt({ ...a.bootstrap(), token })
      await peer.putPeer(peerRecord(peer.self, `p${n}`))
      await pull(a, peer)
      this.#peers.push(peer)
    }
    for (const name of ['x', 'y', 'z']) await a.createService(serviceInput(a, this.#peers[1] as Replica, { name }))
  }

  /** A step that is not allowed, by then, is left out. */
  async tell(one: Step): Promise<void> {
    try {
      await this.#tell(one)
    } catch (error) {
      if (!(error instanceof ArcticError)) throw error
    }
  }

  /** By the founder, whom nobody throws out. */
  async join(): Promise<void> {
    const [a] = this.#peers as [Replica]
    const d = await this.#open(JOINER)
    const token = invite(a)
    await a.admit({ token, peer: d.self, name: 'joiner' })
    const handed = await a.bootstrapSnapshot()
    assert.ok(handed != null, 'there is no snapshot')
    assert.equal(await d.adoptSnapshot({ ...handed, token }), null)
    assert.ok(d.behind() != null)
    this.#joiner = d
    this.#peers.push(d)
  }

  /** While its history is incomplete it shows what another peer shows that holds the same. */
  async check(): Promise<void> {
    const [a] = this.#peers as [Replica]
    const d = this.#joiner as Replica
    // An epoch that the founder signs by itself may come in between.
    const isMissing = (): boolean => [...a.missing(d.vector(), 1e6)].length > 0
    do await pull(d, a)
    while (isMissing())
    const whole = new Observer(a.bootstrap().genesis)
    whole.take(a.bootstrap().envelopes)
    // What came from others, and the founder has not heard of.
    whole.take([...d.missing(a.vector(), 1e6)].flat())
    assert.deepEqual(state(d), state({ view: () => whole.view } as Replica))
  }

  async end(): Promise<void> {
    const [a] = this.#peers as [Replica]
    for (const from of this.#peers.slice(1)) await pull(a, from)
    let d = this.#joiner as Replica
    await fill(d, a, Infinity, 0)
    for (let i = 0; i < 400 && d.behind() != null; i++) await new Promise((resolve) => setTimeout(resolve, 2))
    assert.equal(d.behind(), null)
    assert.equal(d.contradiction(), null)
    for (let round = 0; round < 2; round++) {
      await pull(d, a)
      await pull(a, d)
    }
    assert.deepEqual(state(d), state(a))
    const ids = async (replica: Replica): Promise<string[]> =>
      (await replica.history({})).map(({ id, valid, verified }) => `${id} ${valid} ${verified}`).toSorted()
    assert.deepEqual(await ids(d), await ids(a))
    assert.equal((await d.verify()).flaw, null)
    d = await this.#restart(d)
    assert.deepEqual(state(d), state(a))
  }

  async #tell({ what, who, which }: Step): Promise<void> {
    const peer = this.#peers[who % this.#peers.length] as Replica
    const other = this.#peers[which % this.#peers.length] as Replica
    const services = [...peer.view().services.keys()]
    const service = services[which % Math.max(1, services.length)] ?? ''
    if (peer === this.#joiner && peer.behind() != null && ['create', 'route', 'update', 'remove'].includes(what))
      this.written++
    switch (what) {
      case 'create':
        await peer.createService(serviceInput(peer, other, { name: `s${which}` }))
        break
      case 'route':
        await peer.addRoutes(service, [{ dest_cidr: `10.${which % 250}.0.0/16` }])
        break
      case 'update':
        await peer.updateService(service, { name: `t${which}`, bandwidth_limit_mbps: who })
        break
      case 'remove':
        await peer.deleteService(service)
        break
      case 'undo': {
        // What is gone comes back under its id, perhaps of two at once.
        const changes = (await peer.history({ limit: 6 })).filter(({ kind, valid }) => kind === 'change' && valid)
        const removal = changes.find(({ objects }) => objects.some(({ action }) => action === 'deleted'))
        const change = removal ?? changes[which % Math.max(1, changes.length)]
        if (change != null) await peer.undo(change.id)
        break
      }
      case 'policy':
        await peer.setPolicy({ max_services: 50 + (which % 100) })
        break
      case 'pull':
        if (peer !== other) await pull(peer, other)
        break
      case 'fill':
        if (this.#joiner != null) await fill(this.#joiner, this.#peers[0] as Replica, 1 + (who % 12), which)
        break
      case 'restart':
        if (this.#joiner?.behind() != null) {
          this.restarts++
          this.#joiner = await this.#restart(this.#joiner)
        }
        break
      case 'epoch':
        await peer.signEpoch()
        break
      case 'role':
        if (other !== this.#peers[0]) await peer.setRole(other.self, which % 2 === 0 ? 'member' : 'admin')
        break
      case 'revoke':
        if (other !== this.#peers[0] && other !== this.#joiner && which % 3 === 0) await peer.revoke(other.self)
        break
      case 'admit':
        await peer.admit({ token: invite(peer), peer: signer(this.#next++).peerId, name: `p${this.#next}` })
    }
  }

  async #open(n: number): Promise<Replica> {
    const disk = this.#disks.get(n) ?? memoryDisk()
    this.#disks.set(n, disk)
    const replica = await this.bench.open(`/peer-${n}`, signer(n), disk, 40, EVERY)
    this.#numbers.set(replica, n)
    return replica
  }

  async #restart(replica: Replica): Promise<Replica> {
    const before = state(replica)
    await replica.close()
    const again = await this.#open(this.#numbers.get(replica) ?? 0)
    assert.deepEqual(state(again), before)
    this.#peers = this.#peers.map((peer) => (peer === replica ? again : peer))
    return again
  }
}

/** Some of what is missing behind the snapshot, not always in order. */
async function fill(to: Replica, from: Replica, count: number, order: number): Promise<void> {
  const behind = to.behind()
  if (behind == null) return
  const missing = [...from.missing(behind.vector(), 1_000)].flat().slice(0, count)
  if (order % 3 === 1) missing.reverse()
  for (let i = 0; i < missing.length; i += 5) {
    const { refused } = await to.receiveBehind(missing.slice(i, i + 5), from.self)
    assert.deepEqual(refused, [])
  }
}
