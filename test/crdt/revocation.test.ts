import assert from 'node:assert/strict'
import * as fc from 'fast-check'
import type { Replica } from '../../src/crdt/replica.ts'
import { ForbiddenError } from '../../src/errors.ts'
import { Bench, peerRecord, pull, serviceInput, signer, state } from './support.ts'

/** Everybody hears everything from everybody, whoever is a member, at least so often and until nothing more is written. */
async function meet(replicas: Replica[], rounds = 4): Promise<void> {
  const differ = (): boolean => new Set(replicas.map((one) => one.view().heads.join())).size > 1
  let calm = 0
  const goesOn = (round: number): boolean => round < rounds || (rounds > 1 && round < 50 && calm < 3)
  for (let round = 0; goesOn(round); round++) {
    for (const to of replicas) for (const from of replicas) if (to !== from) await pull(to, from)
    // What fell out is written again in the background.
    await new Promise((resolve) => setTimeout(resolve, rounds === 1 ? 5 : 60))
    calm = differ() ? 0 : calm + 1
  }
}

const agree = (replicas: Replica[]): void => {
  for (const replica of replicas) assert.deepEqual(state(replica), state(replicas[0] as Replica))
}

describe('crdt/revocation', function () {
  this.timeout(60_000)
  const bench = new Bench()
  afterEach(() => bench.clean())

  async function three(): Promise<[Replica, Replica, Replica]> {
    const a = await bench.founder(1)
    const b = await bench.joiner(a, 2)
    const c = await bench.joiner(a, 3)
    await meet([a, b, c], 1)
    return [a, b, c]
  }

  it('what a peer wrote before it was revoked stays, what comes later is nowhere', async () => {
    const [a, b, c] = await three()
    const before = await b.createService(serviceInput(a, c, { name: 'before' }))
    await meet([a, b, c], 1)
    await a.revoke(b.self)
    await b.createService(serviceInput(a, c, { name: 'back-dated' }))
    await meet([a, b, c])
    agree([a, b, c])
    assert.deepEqual([...a.view().services.keys()], [before.id])
    assert.equal(a.view().departed?.get(b.self)?.how, 'revoked')
    assert.match(
      a
        .view()
        .rejected.map(({ reason }) => reason)
        .join(),
      /revoked before it/
    )
    await assert.rejects(b.createService(serviceInput(a, c)), {
      code: 'forbidden',
      message: /was revoked .* by peer-1 /
    })
    await assert.rejects(a.admit({ token: token(a), peer: b.self, name: 'again' }), ForbiddenError)
  })

  it('what an honest peer built on what fell out is written again by itself', async () => {
    const [a, b, c] = await three()
    const kept = await c.createService(serviceInput(a, c, { name: 'kept' }))
    await meet([a, b, c], 1)
    const token = a.vector()
    // b writes; c builds on it; a, which has heard of neither, revokes b.
    await b.createService(serviceInput(a, c, { name: 'by b' }))
    await pull(c, b)
    await c.updateService(kept.id, { name: 'renamed by c' })
    const made = await c.createService(serviceInput(c, a, { name: 'made by c' }))
    await c.addRoutes(made.id, [{ dest_cidr: '10.0.0.0/8' }])
    assert.deepEqual(a.vector(), token)
    await a.revoke(b.self)
    const names = (): string[] => [...a.view().services.values()].map(({ name }) => name).sort()
    // Writing it again takes as long as the disk takes.
    for (let tries = 0; tries < 200 && !names().includes('made by c'); tries++) await meet([a, b, c])
    await meet([a, b, c])
    agree([a, b, c])
    assert.deepEqual(names(), ['made by c', 'renamed by c'])
    assert.equal(a.view().routesOf.get(made.id)?.length, 1)
    // It goes on writing, under a new start.
    await c.updateService(kept.id, { name: 'again' })
    await meet([a, c])
    agree([a, c])
    assert.equal(a.view().services.get(kept.id)?.name, 'again')
  })

  it('of two that revoke each other the more senior one stays', async () => {
    const [a, b, c] = await three()
    const [d] = [await bench.joiner(b, 4)]
    await meet([a, b, c, d as Replica], 1)
    await b.revoke(a.self)
    await a.revoke(b.self)
    await c.revoke((d as Replica).self)
    await (d as Replica).revoke(c.self)
    await meet([a, b, c, d as Replica])
    agree([a, b, c, d as Replica])
    assert.deepEqual([...a.view().members.keys()].sort(), [a.self, c.self].sort())
  })

  it('a revocation that the other one knew of stands, whoever is more senior', async () => {
    const [a, b, c] = await three()
    await b.revoke(a.self)
    await meet([a, b, c])
    await assert.rejects(a.revoke(b.self), { code: 'forbidden', message: /was revoked/ })
    agree([a, b, c])
    assert.deepEqual([...c.view().members.keys()].sort(), [b.self, c.self].sort())
  })

  it('a member reads, and writes its own record only; an admin may make it one and take that back', async () => {
    const [a, b, c] = await three()
    await a.setRole(b.self, 'member')
    await meet([a, b, c])
    assert.equal(b.view().members.get(b.self)?.role, 'member')
    await assert.rejects(b.createService(serviceInput(a, c)), ForbiddenError)
    await assert.rejects(b.revoke(c.self), ForbiddenError)
    await assert.rejects(b.renamePeer(c.self, 'x'), ForbiddenError)
    await b.putPeer({ ...peerRecord(b.self, 'renamed'), version: '0.2.0' })
    await meet([a, b, c])
    agree([a, b, c])
    assert.equal(a.view().members.get(b.self)?.name, 'renamed')
    await a.renamePeer(b.self, 'by-a')
    await a.setRole(b.self, 'admin')
    await meet([a, b, c])
    await b.createService(serviceInput(a, c))
    await meet([a, b, c])
    agree([a, b, c])
    assert.equal(c.view().members.get(b.self)?.name, 'by-a')
    assert.equal(c.view().services.size, 1)
  })

  it('who loses its role at the same time as it writes has written in vain', async () => {
    const [a, b, c] = await three()
    await b.createService(serviceInput(a, c, { name: 'in vain' }))
    await a.setRole(b.self, 'member')
    await meet([a, b, c])
    agree([a, b, c])
    assert.equal(a.view().services.size, 0)
    assert.match(
      a
        .view()
        .rejected.map(({ reason }) => reason)
        .join(),
      /was a member, who may change its own/
    )
  })

  it('who leaves is gone at once, keeps its log aside, and may come back or go elsewhere', async () => {
    const [a, b, c] = await three()
    await b.createService(serviceInput(a, c, { name: 'stays' }))
    await b.leave()
    await meet([a, b, c])
    agree([a, b, c])
    assert.equal(a.view().departed?.get(b.self)?.how, 'left')
    assert.equal(a.view().services.size, 1)
    const keptAs = await b.forget()
    assert.match(keptAs, /log\.left-/)
    assert.equal(b.clusterId(), null)
    assert.equal(b.view().cluster, null)
    const again = token(a)
    await a.admit({ token: again, peer: b.self, name: 'peer-2' })
    await b.adopt({ ...a.bootstrap(), token: again })
    await b.putPeer(peerRecord(b.self, 'peer-2'))
    await b.createService(serviceInput(a, c, { name: 'back' }))
    await meet([a, b, c])
    agree([a, b, c])
    assert.equal(c.view().members.size, 3)
    assert.equal(c.view().services.size, 2)
    await b.leave()
    await b.forget()
    await b.init({ name: 'own', record: peerRecord(b.self, 'b') })
    assert.notEqual(b.clusterId(), a.clusterId())
  })

  it('a role is given anew by any admin that knows of it, whoever gave it, and whoever has been here longer', async () => {
    const [a, b, c] = await three()
    const all = [a, b, c]
    const give = async (by: Replica, to: Replica, role: 'admin' | 'member'): Promise<void> => {
      await by.setRole(to.self, role)
      await meet(all, 1)
      for (const one of all)
        assert.equal(one.view().members.get(to.self)?.role, role, `${by.self} gave ${to.self} ${role}`)
    }
    const d = await bench.joiner(b, 4)
    all.push(d)
    await meet(all, 1)
    await give(a, d, 'member')
    await give(b, d, 'admin')
    await give(a, d, 'member')
    await give(b, b, 'member')
    await give(a, b, 'admin')
    await give(b, c, 'member')
    await give(a, c, 'admin')
    await give(c, b, 'member')
    await give(a, b, 'admin')
    await give(b, a, 'member')
    await give(c, a, 'admin')
    await give(a, c, 'member')
    await give(b, c, 'admin')
    await a.createService(serviceInput(a, b, { name: 'by-a' }))
    await b.createService(serviceInput(b, a, { name: 'by-b' }))
    await c.createService(serviceInput(c, a, { name: 'by-c' }))
    await meet(all)
    agree(all)
    assert.equal(a.view().services.size, 3)
  })

  it('who left and was let in again may be given another role', async () => {
    const [a, b, c] = await three()
    await b.leave()
    await meet([a, b, c])
    await b.forget()
    const again = token(a)
    await a.admit({ token: again, peer: b.self, name: 'peer-2' })
    await b.adopt({ ...a.bootstrap(), token: again })
    await meet([a, b, c])
    for (const role of ['member', 'admin'] as const) {
      await a.setRole(b.self, role)
      await meet([a, b, c], 1)
      for (const one of [a, b, c]) assert.equal(one.view().members.get(b.self)?.role, role)
    }
    agree([a, b, c])
  })

  it('who left and was let in again is what the new invite says, whatever it was made before', async () => {
    for (const [was, invited] of [
      ['admin', 'member'],
      ['member', 'admin']
    ] as const) {
      const [a, b, c] = await three()
      await a.setRole(b.self, 'member')
      if (was === 'admin') await a.setRole(b.self, 'admin')
      await meet([a, b, c], 1)
      await b.leave()
      await meet([a, b, c])
      await b.forget()
      const again = token(a, invited)
      await a.admit({ token: again, peer: b.self, name: 'peer-2' })
      await b.adopt({ ...a.bootstrap(), token: again })
      await meet([a, b, c])
      for (const one of [a, b, c]) assert.equal(one.view().members.get(b.self)?.role, invited)
      const write = b.createService(serviceInput(b, c, { name: 'new' }))
      await (invited === 'admin' ? write : assert.rejects(write, ForbiddenError))
      await meet([a, b, c])
      agree([a, b, c])
      assert.equal(a.view().services.size, invited === 'admin' ? 1 : 0)
      await bench.clean()
    }
  })

  it('the founder leaves and comes back as a member like any other, and everybody may be given roles by everybody', async () => {
    const [a, b, c] = await three()
    await a.createService(serviceInput(a, b, { name: 'before' }))
    await meet([a, b, c], 1)
    await a.leave()
    await meet([a, b, c])
    await a.forget()
    const again = token(c, 'member')
    await c.admit({ token: again, peer: a.self, name: 'peer-1' })
    await a.adopt({ ...c.bootstrap(), token: again })
    await meet([a, b, c])
    for (const one of [a, b, c]) assert.equal(one.view().members.get(a.self)?.role, 'member')
    await assert.rejects(a.createService(serviceInput(a, b, { name: 'no' })), ForbiddenError)
    for (const [by, to, role] of [
      [b, a, 'admin'],
      [a, c, 'member'],
      [b, c, 'admin'],
      [c, a, 'member'],
      [b, a, 'admin']
    ] as const) {
      await by.setRole(to.self, role)
      await meet([a, b, c], 1)
      for (const one of [a, b, c]) assert.equal(one.view().members.get(to.self)?.role, role)
    }
    await a.createService(serviceInput(a, b, { name: 'after' }))
    await meet([a, b, c])
    agree([a, b, c])
    assert.equal(b.view().services.size, 2)
  })

  it('what somebody wrote as the admin that a junior one had made it stays when it leaves', async () => {
    const a = await bench.founder(1)
    const b = await bench.joiner(a, 2, 'member')
    const c = await bench.joiner(a, 3)
    await meet([a, b, c], 1)
    await c.setRole(b.self, 'admin')
    await meet([a, b, c], 1)
    await b.createService(serviceInput(b, c, { name: 'stays' }))
    await meet([a, b, c], 1)
    await b.leave()
    await meet([a, b, c])
    agree([a, c])
    for (const one of [a, c]) assert.equal(one.view().services.size, 1)
  })

  it('the only admin neither leaves nor loses its role while others are there', async () => {
    const a = await bench.founder(1)
    await assert.rejects(a.setRole(a.self, 'member'), /only admin/)
    const b = await bench.joiner(a, 2)
    await pull(a, b)
    await a.setRole(b.self, 'member')
    await assert.rejects(a.leave(), /only admin/)
    await assert.rejects(a.revoke(a.self), /cluster leave/)
    await assert.rejects(a.revoke(signer(9).peerId), /never a member/)
  })

  it('tells who did what, before and after, newest first, and what of it counts', async () => {
    const [a, b, c] = await three()
    const { id } = await a.createService(serviceInput(a, c, { name: 'one' }))
    await a.updateService(id, { name: 'two', bandwidth_limit_mbps: 5 })
    const [route] = await a.addRoutes(id, [{ dest_cidr: '10.0.0.0/8' }])
    await a.deleteService(id)
    await a.setRole(b.self, 'member')
    const [demoted] = await a.history({ object: b.self, limit: 1 })
    assert.deepEqual(demoted?.objects[0]?.fields['role'], { before: 'admin', after: 'member' })
    await a.revoke(b.self)
    const [revoked] = await a.history({ limit: 1 })
    assert.deepEqual(
      [revoked?.objects[0]?.action, revoked?.objects[0]?.id, revoked?.author],
      ['revoke', b.self, a.self]
    )
    const of = await a.history({ object: id })
    assert.deepEqual(
      of.map(({ objects }) => objects.map(({ kind, action }) => `${kind} ${action}`).join()),
      ['route deleted,service deleted', 'route created', 'service updated', 'service created']
    )
    assert.deepEqual(of[2]?.objects[0]?.fields['name'], { before: 'one', after: 'two' })
    assert.equal(of[0]?.objects[0]?.id, route?.id)
    assert.ok(of.every(({ verified, valid }) => verified && valid))
    assert.deepEqual(await a.history({ author: c.self, object: id }), [])
    assert.deepEqual(await a.history({ since: Date.now() + 1000 }), [])
  })

  it('tells the newest changes as it does all of them, though it reads less for it', async () => {
    const [a, b, c] = await three()
    const services: string[] = []
    for (let i = 0; i < 6; i++) services.push((await a.createService(serviceInput(a, c, { name: `s${i}` }))).id)
    await a.addRoutes(services[0] ?? '', [{ dest_cidr: '10.0.0.0/8' }, { dest_cidr: '10.1.0.0/16' }])
    await a.setRole(b.self, 'member')
    await a.updateService(services[1] ?? '', { name: 'renamed', bandwidth_limit_mbps: 5 })
    await c.updateService(services[2] ?? '', { name: 'by c' }).catch(() => {})
    await meet([a, b, c])
    await a.deleteService(services[0] ?? '')
    const all = await a.history({})
    for (const limit of [1, 2, 5, all.length - 1]) assert.deepEqual(await a.history({ limit }), all.slice(0, limit))
    const own = all.filter(({ author }) => author === a.self)
    assert.deepEqual(await a.history({ author: a.self, limit: 3 }), own.slice(0, 3))
  })

  it('numbers of random stories: all peers that hold the same agree, and go on', async () => {
    await fc.assert(
      fc.asyncProperty(fc.infiniteStream(fc.nat(1_000_000)), async (stream) => {
        const dice = (sides: number): number => (stream.next().value ?? 0) % sides
        const pick = <T>(list: readonly T[]): T => list[dice(list.length)] as T
        const replicas = await three()
        for (let step = 0; step < 25; step++) {
          const [by, other] = [pick(replicas), pick(replicas)]
          const services = [...by.view().services.keys()]
          const what = dice(12)
          const action = async (): Promise<unknown> => {
            if (what === 0) return by.revoke(other.self)
            if (what === 1) return by.setRole(other.self, pick(['member', 'admin'] as const))
            if (what === 2) return by.renamePeer(other.self, `n${dice(1000)}`)
            if (what === 3 && dice(4) === 0) return by.leave()
            if (what < 7 || services.length === 0) return by.createService(serviceInput(replicas[0], replicas[1]))
            if (what === 7) return by.deleteService(pick(services))
            return by.updateService(pick(services), { name: `n${dice(1000)}` })
          }
          await action().catch((error: unknown) => assert.ok(error instanceof Error && 'code' in error, String(error)))
          if (dice(3) === 0) await pull(other, by)
        }
        await meet(replicas, 6)
        agree([...replicas])
        await bench.clean()
      }),
      { numRuns: 15 }
    )
  })
})

const token = (by: Replica, role: 'admin' | 'member' = 'admin'): string =>
  by.createInvite({ ttlMs: 60_000, uses: 1, role, addresses: ['/ip4/127.0.0.1/tcp/7946'] })
