import { deepEqual, equal, match, ok, rejects } from 'node:assert/strict'
import type { ArcticError, ErrorCode } from '../../src/errors.ts'
import type { ServiceReport } from '../../src/mesh/mesh.ts'
import { SYNC_PROTOCOL } from '../../src/mesh/sync/anti-entropy.ts'
import { cluster, startHost, type Host } from './host.ts'
import { Cleanup, pause, temporaryDirectory, until } from './support.ts'

const signal = (ms = 10_000): AbortSignal => AbortSignal.timeout(ms)
const headsOf = (host: Host): string => host.replica.view().heads.join()
const reachableFrom = (host: Host): number => host.mesh.peers().filter(({ reachable }) => reachable).length

async function equalEverywhere(hosts: Host[], ms = 8_000): Promise<void> {
  await until('all hold the same', () => new Set(hosts.map(headsOf)).size === 1, ms)
}

async function allReachable(hosts: Host[]): Promise<void> {
  await until('all reach all', () => hosts.every((host) => reachableFrom(host) === hosts.length), 8_000)
}

describe('the mesh of real peers', function () {
  this.timeout(30_000)
  const cleanup = new Cleanup()
  let root: Awaited<ReturnType<typeof temporaryDirectory>>
  beforeEach(async () => {
    root = await temporaryDirectory()
  })
  afterEach(async () => {
    await cleanup.run()
    await root[Symbol.asyncDispose]()
  })

  const host = async (name: string, options?: Parameters<typeof startHost>[2]): Promise<Host> => {
    const started = await startHost(root.path, name, options)
    cleanup.later(() => started.stop())
    return started
  }
  const hosts = async (...names: string[]): Promise<Host[]> => {
    const all: Host[] = []
    for (const name of names) all.push(await host(name))
    return all
  }
  /** Nobody of `left` and nobody of `right` talk to each other any more, or again. */
  const divide = (left: Host[], right: Host[], apart: boolean): void => {
    for (const one of left) {
      for (const other of right) {
        for (const [from, to] of [
          [one, other],
          [other, one]
        ] as const) {
          if (apart) from.denied.add(to.id)
          else from.denied.delete(to.id)
        }
      }
    }
    for (const each of [...left, ...right]) each.network.membershipChanged()
  }

  describe('join', () => {
    it('makes five peers one cluster, in which a write of any reaches all', async () => {
      const all = await hosts('a', 'b', 'c', 'd', 'e')
      await cluster(all)
      await allReachable(all)
      const [a, b, , d] = all as [Host, Host, Host, Host, Host]
      const { id } = await d.replica.createService({ source_peer_id: a.id, target_peer_id: b.id })
      await until('the service is everywhere', () => all.every((one) => one.replica.view().services.has(id)), 2_000)
      await equalEverywhere(all)
      for (const one of all) {
        deepEqual(new Set(one.mesh.peers().map(({ state }) => state)), new Set(['admitted']))
        equal(one.replica.view().members.get(d.id)?.record?.name, 'd')
        // Also where d has dialled this one, from a port that nobody can dial.
        deepEqual(one.mesh.peer(d.id)?.addresses, d.network.addresses())
      }
      ok(a.mesh.propagation().length > 0)
      ok(a.mesh.propagation().every((ms) => ms >= 0 && ms < 10_000))
      equal(a.mesh.peer(d.id)?.version, '0.0.0')
      await until('the round trip is known', () => a.mesh.peer(d.id)?.rttMs != null, 3_000)
    })

    it('is complete when it returns: the joiner holds what the inviter holds, and the inviter its record', async () => {
      const [a, b] = (await hosts('a', 'b')) as [Host, Host]
      await a.replica.init({ name: 'test', record: a.record() })
      const { id } = await a.replica
        .createService({ source_peer_id: a.id, target_peer_id: a.id })
        .catch(() => ({ id: '' }))
      await b.mesh.join(await a.mesh.invite({ ttlMs: 60_000, uses: 1, role: 'admin' }), { signal: signal() })
      ok(b.replica.view().members.get(b.id)?.record != null)
      // The inviter's disk may still be writing what it has taken in.
      await until('both hold the same', () => headsOf(a) === headsOf(b), 500)
      deepEqual(a.replica.view().members.get(b.id)?.record?.mesh_addresses, b.network.addresses())
      ok(id === '' || b.replica.view().services.has(id))
    })

    const refused = async (work: Promise<unknown>, code: ErrorCode, message: RegExp): Promise<void> => {
      await rejects(work, (error: ArcticError) => {
        equal(error.code, code)
        match(error.message, message)
        return true
      })
    }

    it('is refused with the reason: expired, used up, forged, truncated, of another cluster, name taken', async () => {
      const [a, b, c] = (await hosts('a', 'b', 'c')) as [Host, Host, Host]
      await a.replica.init({ name: 'test', record: a.record() })
      const short = await a.mesh.invite({ ttlMs: 1_000, uses: 1, role: 'admin' })
      const once = await a.mesh.invite({ ttlMs: 60_000, uses: 1, role: 'admin' })
      const join = (token: string): Promise<void> => c.mesh.join(token, { signal: signal() })
      await b.mesh.join(once, { signal: signal() })
      await refused(join(once), 'invite_used', /good for 1 peer /)
      await refused(join(once.slice(0, -9)), 'invite_invalid', /copy the whole token/)
      const middle = Math.floor(once.length / 2)
      const forged = once.slice(0, middle) + (once[middle] === 'A' ? 'B' : 'A') + once.slice(middle + 1)
      await refused(join(forged), 'invite_invalid', /./)
      await refused(join('nonsense'), 'invite_invalid', /begins with/)
      await pause(1_000)
      await refused(join(short), 'invite_expired', /expired at/)
      // Whoever tried is known as discovered, and no member.
      equal(a.mesh.peer(c.id)?.state, 'discovered')
      const many = await a.mesh.invite({ ttlMs: 60_000, uses: 9, role: 'admin' })
      await refused(a.mesh.join(many, { signal: signal() }), 'already_in_cluster', /leave it first/)
      await refused(b.mesh.join(many, { signal: signal() }), 'already_in_cluster', /leave it first/)
      const twin = await startHost(`${root.path}/twin`, 'b')
      cleanup.later(() => twin.stop())
      await refused(twin.mesh.join(many, { signal: signal() }), 'name_taken', /"b"/)
      // None of that left anything behind: a good token still works, for the same peer.
      await join(many)
      await equalEverywhere([a, b, c])
    })

    it('tells of an inviter that was demoted or revoked, and does not speak as if the joiner were', async () => {
      const [a, b, c] = (await hosts('a', 'b', 'c')) as [Host, Host, Host]
      await cluster([a, b])
      const token = await b.mesh.invite({ ttlMs: 60_000, uses: 1, role: 'admin' })
      const isInvalid = (why: RegExp): Promise<void> =>
        refused(c.mesh.join(token, { signal: signal() }), 'invite_invalid', why)
      const knows = (one: Host, role: string | undefined): Promise<void> =>
        until('it has heard', () => one.replica.view().members.get(one.id)?.role === role, 3_000)
      await a.replica.setRole(b.id, 'member')
      await knows(b, 'member')
      await isInvalid(/the peer that made it is not an admin any more/)
      await a.replica.revoke(b.id)
      await knows(b, undefined)
      await isInvalid(/the peer that made it was revoked/)
    })

    it('tells an inviter that cannot be reached, with the addresses tried', async () => {
      const [a, b] = (await hosts('a', 'b')) as [Host, Host]
      await a.replica.init({ name: 'test', record: a.record() })
      const token = await a.mesh.invite({ ttlMs: 60_000, uses: 1, role: 'admin' })
      const address = a.network.addresses()[0]!
      await a.mesh.stop()
      await refused(b.mesh.join(token, { signal: signal() }), 'unavailable', new RegExp(`${address} .*--advertise`))
      equal(b.replica.clusterId(), null)
    })
  })

  it('carries a change that is too large for gossip to all', async () => {
    const all = await hosts('a', 'b', 'c')
    await cluster(all)
    await allReachable(all)
    const [a, b] = all as [Host, Host, Host]
    const { id } = await a.replica.createService({ source_peer_id: a.id, target_peer_id: b.id })
    const routes = Array.from({ length: 600 }, (_, i) => ({ dest_cidr: `10.${i >> 8}.${i & 255}.0/24` }))
    await a.replica.addRoutes(id, routes)
    await until('all have the routes', () => all.every((one) => one.replica.view().routes.size === 600), 5_000)
  })

  it('heals a partition of two and three peers in which both sides wrote', async () => {
    const all = await hosts('a', 'b', 'c', 'd', 'e')
    await cluster(all)
    await allReachable(all)
    const [a, b, c, d, e] = all as [Host, Host, Host, Host, Host]
    const [left, right] = [
      [a, b],
      [c, d, e]
    ]
    divide(left, right, true)
    await until('each side is alone', () => reachableFrom(a) === 2 && reachableFrom(c) === 3)
    const write = async (by: Host, of: Host[]): Promise<string[]> => {
      const ids: string[] = []
      for (let i = 0; i < 20; i++) {
        const { id } = await by.replica.createService({ source_peer_id: by.id, target_peer_id: of[i % of.length]!.id })
        ids.push(id)
      }
      return ids
    }
    const [lefts, rights] = await Promise.all([write(a, right), write(d, left)])
    const holds = (host: Host, ids: string[]): boolean => ids.every((id) => host.replica.view().services.has(id))
    await until('each side knows its own', () => holds(b, lefts) && holds(c, rights) && holds(e, rights))
    equal(a.replica.view().services.size, 20)
    equal(c.replica.view().services.size, 20)
    divide(left, right, false)
    await equalEverywhere(all)
    for (const one of all) ok(holds(one, [...lefts, ...rights]), `${one.name} lacks some`)
    await allReachable(all)
  })

  it('finds a peer again that was restarted elsewhere, and brings it up to date', async () => {
    const [a, b, c] = (await hosts('a', 'b', 'c')) as [Host, Host, Host]
    await cluster([a, b, c])
    await allReachable([a, b, c])
    await b.stop()
    await until('b is missed', () => a.mesh.peer(b.id)?.reachable === false)
    const { id } = await a.replica.createService({ source_peer_id: a.id, target_peer_id: c.id })
    const back = await host('b')
    equal(back.id, b.id)
    await until('b has caught up', () => back.replica.view().services.has(id))
    await allReachable([a, back, c])
    await equalEverywhere([a, back, c])
    deepEqual(a.replica.view().members.get(b.id)?.record?.mesh_addresses, back.network.addresses())
  })

  it('lets a member introduce itself to one that was away when it joined, with its inviter gone', async () => {
    const [a, c] = (await hosts('a', 'c')) as [Host, Host]
    await cluster([a, c])
    await equalEverywhere([a, c])
    const listen = c.network.addresses()[0]!
    await c.stop()
    const d = await host('d')
    await d.mesh.join(await a.mesh.invite({ ttlMs: 60_000, uses: 1, role: 'admin' }), { signal: signal() })
    await a.stop()
    const back = await host('c', { listen })
    equal(back.replica.isMember(d.id), false)
    await until('c knows d', () => back.replica.isMember(d.id), 10_000)
    await equalEverywhere([back, d])
    await until('they reach each other', () => reachableFrom(back) === 2 && reachableFrom(d) === 2, 8_000)
  })

  describe('a peer that is revoked', () => {
    const standing = (of: Host, by: Host): string | undefined => by.mesh.peer(of.id)?.state
    const knowsItself = (one: Host): boolean => one.replica.view().departed?.get(one.id)?.how === 'revoked'

    it('is cut off by all at once, is told, and stays away', async () => {
      const all = (await hosts('a', 'b', 'c')) as [Host, Host, Host]
      const [a, b, c] = all
      await cluster(all)
      await allReachable(all)
      await a.replica.revoke(c.id)
      for (const one of [a, b]) {
        await until('it is cut off', () => !one.network.connected().includes(c.id), 2_000)
        equal(standing(c, one), 'revoked')
        equal(one.mesh.peer(c.id)?.reachable, false)
      }
      await until('it knows', () => knowsItself(c), 10_000)
      await until('it lets go of them too', () => c.network.connected().length === 0, 5_000)
      await rejects(c.mesh.invite({ ttlMs: 60_000, uses: 1, role: 'admin' }), {
        code: 'forbidden'
      })
      for (const one of [a, b]) equal(reachableFrom(one), 2)
    })

    it('while it is away is told when it is back, and of nothing that came later', async () => {
      const all = (await hosts('a', 'b')) as [Host, Host]
      const [a, b] = all
      await cluster(all)
      await equalEverywhere(all)
      await b.stop()
      await a.replica.revoke(b.id)
      const d = await host('d')
      await d.mesh.join(await a.mesh.invite({ ttlMs: 60_000, uses: 1, role: 'admin' }), { signal: signal() })
      const back = await host('b')
      await until('it knows', () => knowsItself(back), 10_000)
      equal(back.replica.isMember(d.id), false)
      await rejects(
        back.mesh.join(await a.mesh.invite({ ttlMs: 60_000, uses: 1, role: 'admin' }), { signal: signal() }),
        {
          code: 'already_in_cluster'
        }
      )
      await back.replica.forget()
      await rejects(
        back.mesh.join(await a.mesh.invite({ ttlMs: 60_000, uses: 1, role: 'admin' }), { signal: signal() }),
        {
          code: 'forbidden'
        }
      )
    })
  })

  describe('a peer that leaves', () => {
    it('tells all, forgets them, and may come back in the same life', async () => {
      const all = (await hosts('a', 'b', 'c')) as [Host, Host, Host]
      const [a, b, c] = all
      await cluster(all)
      await allReachable(all)
      await a.replica.renamePeer(c.id, 'branch')
      await equalEverywhere(all)
      await c.replica.leave()
      const { told, missed } = await c.mesh.depart()
      deepEqual([new Set(told), missed], [new Set([a.id, b.id]), []])
      for (const one of [a, b]) equal(one.replica.view().departed?.get(c.id)?.how, 'left')
      await c.replica.forget()
      equal(c.replica.clusterId(), null)
      await until('nobody is connected to it', () => c.network.connected().length === 0, 5_000)
      await c.mesh.join(await b.mesh.invite({ ttlMs: 60_000, uses: 1, role: 'member' }), { signal: signal() })
      equal(c.replica.view().members.get(c.id)?.name, 'c')
      await allReachable(all)
      await equalEverywhere(all)
      equal(a.replica.view().members.get(c.id)?.role, 'member')
      equal(a.replica.view().departed?.has(c.id), false)
    })

    it('says whom it could not tell; the others tell them', async () => {
      const all = (await hosts('a', 'b', 'c')) as [Host, Host, Host]
      const [a, b, c] = all
      await cluster(all)
      await equalEverywhere(all)
      const listen = b.network.addresses()[0]!
      await b.stop()
      await c.replica.leave()
      deepEqual(await c.mesh.depart(), { told: [a.id], missed: [b.id] })
      await c.replica.forget()
      const back = await host('b', { listen })
      await until('b hears of it', () => back.replica.view().departed?.get(c.id)?.how === 'left', 10_000)
    })
  })

  it('keeps the name that the cluster knows it by, however it is started', async () => {
    const [a, b] = (await hosts('a', 'b')) as [Host, Host]
    await cluster([a, b])
    await equalEverywhere([a, b])
    await a.replica.renamePeer(b.id, 'branch')
    await until('b knows', () => b.replica.view().members.get(b.id)?.name === 'branch')
    await b.stop()
    const back = await host('b')
    equal(back.record().name, 'b')
    await until(
      'its new address is known',
      () => {
        const record = a.replica.view().members.get(b.id)?.record
        return record?.mesh_addresses.join() === back.network.addresses().join()
      },
      10_000
    )
    equal(a.replica.view().members.get(b.id)?.name, 'branch')
  })

  it('tells strangers nothing: no sync, no gossip, no presence', async () => {
    const [a, b, mallory] = (await hosts('a', 'b', 'mallory')) as [Host, Host, Host]
    await cluster([a, b])
    await mallory.replica.init({ name: 'other', record: mallory.record() })
    await mallory.network.dial(a.id, a.network.addresses(), { signal: signal() })
    await rejects(mallory.network.open(a.id, SYNC_PROTOCOL, { signal: signal() }))
    await until('a has seen it', () => a.mesh.peer(mallory.id) != null)
    const seen = a.mesh.peer(mallory.id)!
    deepEqual([seen.state, seen.reachable, seen.version, seen.heads], ['discovered', false, null, null])
    await pause(300)
    equal(mallory.replica.view().members.size, 1)
    equal(mallory.mesh.peer(a.id)?.heads ?? null, null)
    await rejects(mallory.mesh.refreshReport(a.id, { signal: signal() }), { code: 'peer_not_found' })
  })

  it('syncs with everybody reachable when told to, and says what came of it', async () => {
    const all = await hosts('a', 'b', 'c')
    await rejects(all[0]!.mesh.syncAll({ signal: signal() }), { code: 'not_in_cluster' })
    await cluster(all)
    await allReachable(all)
    const [a, b, c] = all as [Host, Host, Host]
    await equalEverywhere(all)
    const outcomes = await a.mesh.syncAll({ signal: signal() })
    deepEqual(new Set(outcomes.map(({ peer }) => peer)), new Set([b.id, c.id]))
    for (const { received, sent, error } of outcomes) deepEqual([received, sent, error], [0, 0, null])
  })

  describe('service reports', () => {
    const report = (service_id: string, change: Partial<ServiceReport> = {}): ServiceReport => ({
      service_id,
      role: 'target',
      spec: 'x',
      state: 'applied',
      reason: '',
      message: '',
      since: 0,
      effective_transport: 'tcp',
      interface: null,
      flows: 0,
      bytes_in: 0,
      bytes_out: 0,
      ...change
    })

    it('reach the other endpoint at once, and everybody else who asks', async () => {
      const all = await hosts('a', 'b', 'c')
      await cluster(all)
      await allReachable(all)
      const [a, b, c] = all as [Host, Host, Host]
      const { id } = await a.replica.createService({ source_peer_id: a.id, target_peer_id: b.id })
      await equalEverywhere(all)
      b.mesh.publishReport(new Map([[id, report(id)]]))
      await until('a has it', () => a.mesh.report(b.id).has(id), 2_000)
      equal(c.mesh.report(b.id).size, 0)
      deepEqual([...(await c.mesh.refreshReport(b.id, { signal: signal() })).values()], [report(id)])
      let told = 0
      a.mesh.onReport((peer) => {
        if (peer === b.id) told++
      })
      b.mesh.publishReport(new Map([[id, report(id, { state: 'failed', reason: 'Broken', message: 'why' })]]))
      await until('a hears of the failure', () => a.mesh.report(b.id).get(id)?.state === 'failed', 2_000)
      ok(told > 0)
      b.mesh.publishReport(new Map())
      await until('a hears of the end', () => !a.mesh.report(b.id).has(id), 2_000)
      deepEqual(a.mesh.report(a.id), new Map())
    })
  })
})
