import { deepEqual, equal, rejects } from 'node:assert/strict'
import { setImmediate as turn } from 'node:timers/promises'
import type { Disk, DiskFile } from '../../src/crdt/disk.ts'
import type { Replica } from '../../src/crdt/replica.ts'
import { Bench, peerRecord, serviceInput, signer } from './support.ts'
import { memoryDisk } from './support/memory-disk.ts'

/** A disk whose flushes wait, while it is held, until somebody says how they end. */
class HeldDisk {
  readonly disk: Disk
  #held: Array<(error: Error | null) => void> | null = null

  constructor() {
    const disk = memoryDisk()
    this.disk = { ...disk, open: async (path) => this.#wrap(await disk.open(path)) }
  }

  hold(): void {
    this.#held = []
  }

  end(error: Error | null): void {
    for (const done of this.#held?.splice(0) ?? []) done(error)
    this.#held = null
  }

  get waiting(): number {
    return this.#held?.length ?? 0
  }

  #wrap(file: DiskFile): DiskFile {
    return {
      ...file,
      sync: async () => {
        if (this.#held == null) return file.sync()
        const error = await new Promise<Error | null>((resolve) => this.#held?.push(resolve))
        if (error != null) throw error
      }
    }
  }
}

describe('crdt: what is acknowledged to others is on disk', function () {
  this.timeout(20_000)
  const bench = new Bench()
  let held = new HeldDisk()
  beforeEach(() => {
    held = new HeldDisk()
  })
  afterEach(() => {
    held.end(null)
    return bench.clean()
  })

  /** Two replicas, a change of the first one that the second is writing down, and a second delivery of it. */
  async function twice(): Promise<{ b: Replica; first: Promise<unknown>; second: Promise<unknown> }> {
    const a = await bench.founder()
    const b = await bench.open(await bench.dir(), signer(2), held.disk)
    const token = a.createInvite({ ttlMs: 60_000, uses: 1, role: 'admin', addresses: ['/ip4/127.0.0.1/tcp/7946'] })
    await a.admit({ token, peer: b.self, name: 'b' })
    await b.adopt({ ...a.bootstrap(), token })
    await a.createService(serviceInput(a, b))
    const news = [...a.missing(b.vector(), Infinity)].flat()
    equal(news.length, 1)
    held.hold()
    const first = b.receive(news, a.self)
    const second = b.receive(news, 'another peer')
    for (const one of [first, second]) one.catch(() => {})
    while (held.waiting === 0) await turn()
    for (let i = 0; i < 20; i++) await turn()
    return { b, first, second }
  }

  const settled = async (promise: Promise<unknown>): Promise<boolean> =>
    Promise.race([promise.then(() => true), turn(false)])

  it('nobody hears "known" of what another call is still writing', async () => {
    const { first, second } = await twice()
    deepEqual([await settled(first), await settled(second)], [false, false])
    held.end(null)
    deepEqual(await first, { accepted: 1, known: 0, refused: [], gap: false })
    deepEqual(await second, { accepted: 0, known: 1, refused: [], gap: false })
  })

  it('when the disk refuses it, both deliveries fail, and the next one begins anew', async () => {
    const { b, first, second } = await twice()
    held.end(Object.assign(new Error('no space left'), { code: 'ENOSPC' }))
    await rejects(first, { code: 'unavailable' })
    await rejects(second, { code: 'unavailable' })
    equal(b.view().services.size, 0)
  })

  for (const [what, error] of [
    ['is acknowledged with it', null],
    ['fails with it', Object.assign(new Error('no space left'), { code: 'ENOSPC' })]
  ] as const) {
    it(`a write of what another call is still writing ${what}`, async () => {
      const a = await bench.open(await bench.dir(), signer(1), held.disk)
      const b = await bench.open(await bench.dir(), signer(2))
      await a.init({ name: 'one', record: peerRecord(a.self, 'a') })
      const token = a.createInvite({ ttlMs: 60_000, uses: 1, role: 'admin', addresses: ['/ip4/127.0.0.1/tcp/7946'] })
      await a.admit({ token, peer: b.self, name: 'b' })
      const { id } = await a.createService(serviceInput(a, b))
      const [route] = await a.addRoutes(id, [{ dest_cidr: '10.0.0.0/8' }])
      const writes: ReadonlyArray<() => Promise<unknown>> = [
        () => a.putPeer({ ...peerRecord(a.self, 'a'), mesh_addresses: ['/ip4/127.0.0.1/tcp/1'] }),
        () => a.renamePeer(a.self, 'another'),
        () => a.updateService(id, { name: 'other' }),
        () => a.updateRoute(id, route!.id, { dest_cidr: '10.0.0.0/9' }),
        () => a.setPolicy({ max_services: 7 }),
        () => a.setRole(b.self, 'member'),
        () => a.revoke(b.self)
      ]
      for (const write of writes) {
        held.hold()
        const [first, second] = [write(), write()]
        for (const one of [first, second]) one.catch(() => {})
        while (held.waiting === 0) await turn()
        for (let i = 0; i < 20; i++) await turn()
        deepEqual([await settled(first), await settled(second)], [false, false], String(write))
        held.end(error)
        if (error == null) await Promise.all([first, second])
        else for (const one of [first, second]) await rejects(one, { code: 'unavailable' }, String(write))
      }
    })
  }

  it('what waits in memory for something before it is not known, but missing', async () => {
    const [a, c] = [await bench.founder(), await bench.open(await bench.dir(), signer(3))]
    const token = a.createInvite({ ttlMs: 60_000, uses: 1, role: 'admin', addresses: ['/ip4/127.0.0.1/tcp/7946'] })
    await a.admit({ token, peer: c.self, name: 'c' })
    await c.adopt({ ...a.bootstrap(), token })
    const { id } = await a.createService(serviceInput(a, c))
    await a.updateService(id, { name: 'later' })
    const later = [...a.missing(c.vector(), Infinity)].flat().slice(1)
    const gap = { accepted: 0, known: 0, refused: [], gap: true }
    deepEqual(await c.receive(later, a.self), gap)
    deepEqual(await c.receive(later, a.self), gap)
  })
})
