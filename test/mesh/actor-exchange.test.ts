import { deepEqual, equal, match, ok, rejects } from 'node:assert/strict'
import { systemClock } from '../../src/clock.ts'
import type { Role } from '../../src/crdt/schema.ts'
import { ConflictError, InvalidRequestError, type ArcticError } from '../../src/errors.ts'
import { silentLogger } from '../../src/log.ts'
import { ACTOR_PROTOCOL, type ActorHandler, type DeathNotice } from '../../src/mesh/actor-protocol/actors.ts'
import { ActorExchange } from '../../src/mesh/actor-protocol/exchange.ts'
import { requests } from '../../src/mesh/actor-protocol/frame.ts'
import { actorAsksMax, actorAskTimeoutMs, actorLinkIdleMs, actorWatchesPerPeerMax } from '../../src/mesh/limits.ts'
import { FakeClock } from '../actors/fakes/clock.ts'
import { MemoryNet, type MemoryNetwork } from './memory-network.ts'
import { pause, until } from './support.ts'

/** Actors that are numbers: what was sent to them is kept, and a test makes them change and end. */
class Numbers implements ActorHandler {
  readonly sent: Array<{ path: string; type: string; by: string }> = []
  readonly watching = new Set<(key: string, update: unknown) => void>()
  readonly monitoring = new Map<string, (notice: DeathNotice) => void>()
  asked = 0
  askedBy: Role | null = null
  answer: (what: string, path: string | null) => unknown = (what, path) => ({ what, path })

  ask(what: string, path: string | null, { role }: { role: Role }): unknown {
    this.asked++
    this.askedBy = role
    return this.answer(what, path)
  }

  async send(path: string, event: { type: string }, by: string): Promise<unknown> {
    this.sent.push({ path, type: event.type, by })
    return { count: this.sent.length }
  }

  watch(path: string | null, listener: (key: string, update: unknown) => void): () => void {
    if (path === 'ghost') throw new InvalidRequestError('no ghost lives here')
    if (path != null) listener(path, { path, event: null })
    this.watching.add(listener)
    return () => void this.watching.delete(listener)
  }

  monitor(path: string, onEnd: (notice: DeathNotice) => void): () => void {
    this.monitoring.set(path, onEnd)
    return () => void this.monitoring.delete(path)
  }

  step(path: string, number: number): void {
    for (const listener of this.watching) listener(path, { path, number })
  }
}

describe('actors across hosts', function () {
  this.timeout(20_000)
  let net: MemoryNet
  let roles: Map<string, Role>
  let started: Array<{ exchange: ActorExchange; network: MemoryNetwork }>
  beforeEach(() => {
    net = new MemoryNet()
    roles = new Map([
      ['a', 'admin'],
      ['b', 'admin'],
      ['m', 'member']
    ])
    started = []
  })
  afterEach(async () => {
    for (const { exchange, network } of started) {
      await exchange.stop()
      equal(network.listeners, 0)
    }
    await until('no stream is left', () => net.open === 0)
  })

  async function peer(self: string, clock = systemClock): Promise<{ exchange: ActorExchange; actors: Numbers }> {
    const network = net.peer(self)
    const roleOf = (id: string): Role | null => roles.get(id) ?? null
    const exchange = new ActorExchange({ network: network.whole(), clock, log: silentLogger, roleOf })
    await exchange.start()
    started.push({ exchange, network })
    const actors = new Numbers()
    exchange.serve(actors)
    return { exchange, actors }
  }

  const letter = (type = 'netmgr.retry') => ({ path: 'netmgr', event: { type }, by: 'socket' })
  const collect = () => {
    const updates: Array<Record<string, unknown>> = []
    const ends: unknown[] = []
    return {
      updates,
      ends,
      listeners: {
        onUpdate: (update: unknown) => void updates.push(update as Record<string, unknown>),
        onEnd: (error: unknown) => void ends.push(error)
      }
    }
  }

  it('answers a question, and hands over a refusal as if it had happened here', async () => {
    const [{ exchange: a }, { actors: b }] = [await peer('a'), await peer('b')]
    deepEqual(await a.ask('b', { what: 'inspect', path: 'service:web' }), { what: 'inspect', path: 'service:web' })
    b.answer = () => {
      throw new ConflictError(409, 'it is busy; wait', { now: ['x'] })
    }
    await rejects(a.ask('b', { what: 'tree', path: null }), (error: ArcticError) => {
      deepEqual(
        [error.code, error.status, error.exitCode, error.message],
        ['invalid_request', 409, 5, 'it is busy; wait']
      )
      deepEqual(error.details, { now: ['x'] })
      return true
    })
    b.answer = () => {
      throw new TypeError('a secret of the other host')
    }
    await rejects(a.ask('b', { what: 'tree', path: null }), (error: ArcticError) => {
      equal(error.code, 'internal')
      ok(!error.message.includes('secret'))
      return true
    })
    equal(net.open, 1, 'one stream for all that is asked')
  })

  it('delivers events in order, at most once, and names who sent them', async () => {
    const [{ exchange: a }, { actors: b }] = [await peer('a'), await peer('b')]
    const types = Array.from({ length: 300 }, (_, i) => `event.${i}`)
    const told = types.map((type, i) => (i % 3 === 0 ? a.tell('b', letter(type)) : a.send('b', letter(type))))
    await Promise.all(told)
    await until('all are there', () => b.sent.length >= types.length)
    await pause(20)
    deepEqual(
      b.sent.map(({ type }) => type),
      types
    )
    deepEqual(new Set(b.sent.map(({ by }) => by)), new Set(['socket at a']))
  })

  it('lets members look and only admins send, as their role is now', async () => {
    const [{ exchange: m }, { exchange: b, actors }] = [await peer('m'), await peer('b')]
    deepEqual(await m.ask('b', { what: 'tree', path: null }), { what: 'tree', path: null })
    equal(actors.askedBy, 'member')
    await rejects(m.send('b', letter()), { code: 'forbidden', message: /only an admin may send .*m is a member there/ })
    await m.tell('b', letter())
    await until('both were refused', () => b.refused().get('forbidden') === 2)
    equal(actors.sent.length, 0)
    roles.set('m', 'admin')
    deepEqual(await m.send('b', letter()), { count: 1 })
    roles.delete('m')
    await rejects(m.ask('b', { what: 'tree', path: null }), { code: 'peer_not_found' })
    await rejects(b.ask('stranger', { what: 'tree', path: null }), { code: 'peer_not_found' })
  })

  it('gives up on a peer that does not answer, and on one that is not there', async () => {
    const clock = new FakeClock()
    const [{ exchange: a }, { actors: b }] = [await peer('a', clock), await peer('b', clock)]
    b.answer = () => new Promise(() => {})
    const asked = rejects(a.ask('b', { what: 'tree', path: null }), { code: 'unavailable', message: /within 5 s/ })
    await clock.advance(actorAskTimeoutMs)
    await asked
    const hungUp = new AbortController()
    const left = rejects(a.ask('b', { what: 'tree', path: null }, { signal: hungUp.signal }), { name: 'AbortError' })
    hungUp.abort()
    await left
    net.cut('a', 'b', { apart: true })
    await rejects(a.ask('b', { what: 'tree', path: null }), { code: 'unavailable', message: /not connected/ })
  })

  it('fails what was under way when the connection is lost, and opens the next stream by itself', async () => {
    const [{ exchange: a }, { actors: b }] = [await peer('a'), await peer('b')]
    b.answer = () => new Promise(() => {})
    const asked = rejects(a.ask('b', { what: 'tree', path: null }), { code: 'unavailable', message: /nobody knows/ })
    await until('it was asked', () => b.asked === 1)
    net.cut('a', 'b')
    await asked
    b.answer = () => 'here again'
    equal(await a.ask('b', { what: 'tree', path: null }), 'here again')
    equal(b.asked, 2, 'nothing was asked a second time')
  })

  it('carries an answer of 20 MB, and short answers past it', async () => {
    const [{ exchange: a }, { actors: b }] = [await peer('a'), await peer('b')]
    b.answer = (what) => (what === 'long' ? 'x'.repeat(20_000_000) : 'short')
    const order: string[] = []
    const long = a.ask('b', { what: 'long', path: null }).then((answer) => {
      order.push('long')
      return answer
    })
    const short = a.ask('b', { what: 'short', path: null }).then(() => order.push('short'))
    equal(((await long) as string).length, 20_000_000)
    await short
    deepEqual(order, ['short', 'long'])
    b.answer = () => 'x'.repeat(34_000_000)
    await rejects(a.ask('b', { what: 'long', path: null }), { code: 'unavailable' })
  })

  it('watches: how it stands first, then each step, until nobody watches any more', async () => {
    const [{ exchange: a }, { actors: b }] = [await peer('a'), await peer('b')]
    const { updates, ends, listeners } = collect()
    const stop = await a.watch('b', 'service:web', listeners)
    await until('the first is here', () => updates.length === 1)
    b.step('service:web', 1)
    await until('the step is here', () => updates.length === 2)
    deepEqual(updates, [
      { path: 'service:web', event: null },
      { path: 'service:web', number: 1 }
    ])
    stop()
    await until('the other side has let go', () => b.watching.size === 0)
    deepEqual(ends, [])
    await rejects(a.watch('b', 'ghost', listeners), { code: 'invalid_request', message: /no ghost/ })
    equal(b.watching.size, 0)
  })

  it('begins a watch anew after a redial, and ends it when the peer is no member any more', async () => {
    const [{ exchange: a }, { actors: b }] = [await peer('a'), await peer('b')]
    const { updates, ends, listeners } = collect()
    await a.watch('b', 'service:web', listeners)
    await until('it stands', () => updates.length === 1)
    net.cut('a', 'b', { apart: true })
    await until('the other side has let go', () => b.watching.size === 0)
    await pause(20)
    net.join('a', 'b')
    await until('it stands again', () => updates.length === 2)
    deepEqual(updates[1], { path: 'service:web', event: null })
    net.cut('a', 'b')
    await until('also when only the stream was lost', () => updates.length === 3)
    roles.delete('b')
    a.membersChanged()
    await until('it has ended', () => ends.length === 1)
    match((ends[0] as Error).message, /no member/)
    await until('the other side has let go', () => b.watching.size === 0)
  })

  it('tells the end of an actor once, and that nobody can know it when the connection is lost', async () => {
    const [{ exchange: a }, { actors: b }] = [await peer('a'), await peer('b')]
    const notices: DeathNotice[] = []
    const note = (notice: DeathNotice): void => void notices.push(notice)
    await a.monitor('b', 'service:web', note)
    b.monitoring.get('service:web')!({ status: 'error', reason: 'it broke' })
    await until('it is known', () => notices.length === 1)
    deepEqual(notices, [{ status: 'error', reason: 'it broke' }])
    const stop = await a.monitor('b', 'service:left', note)
    stop()
    await until('it is withdrawn', () => !b.monitoring.has('service:left'))
    await a.monitor('b', 'service:web', note)
    net.cut('a', 'b')
    await until('nobody knows', () => notices.length === 2)
    equal(notices[1]!.status, 'unreachable')
  })

  it('a slow watcher gets the newest of each actor, and slows neither the actors nor others', async () => {
    const [{ exchange: a }, { actors: b }] = [await peer('a'), await peer('b')]
    const slow = await net.peers.get('a')!.open('b', ACTOR_PROTOCOL)
    const other = await peer('m')
    const { updates, listeners } = collect()
    await other.exchange.watch('b', null, listeners)
    await slow.send(requests.watch(1, null))
    await until('both watch', () => b.watching.size === 2)
    const last = 200_000
    const filler = 'x'.repeat(200)
    for (let i = 1; i <= last; i++) {
      const path = `service:${i % 10}`
      for (const listener of b.watching) listener(path, { path, number: i, filler })
    }
    await until('the other one is up to date', () => updates.at(-1)?.['number'] === last)
    let newest = 0
    let read = 0
    while (newest < last) {
      const message = await slow.receive({ signal: AbortSignal.timeout(5_000) })
      const frame = Buffer.from(message!).toString()
      if (frame[0] === 'U') newest = (JSON.parse(frame.slice(5)) as { number: number }).number
      read++
    }
    ok(read < 5_000, `${read} messages for ${last} steps`)
    slow.abort(new Error('enough'))
    await until('it is let go', () => b.watching.size === 1)
    void a
  })

  it('a peer that asks and reads nothing is not read any more, and costs nobody else', async () => {
    const [, { exchange: b, actors }] = [await peer('a'), await peer('b')]
    actors.answer = () => 'x'.repeat(1_000_000)
    const hostile = await net.peers.get('a')!.open('b', ACTOR_PROTOCOL)
    for (let i = 1; i <= 10 * actorAsksMax; i++)
      void hostile.send(requests.ask(i, { what: 'tree', path: null })).catch(() => {})
    await until('its slots are taken', () => actors.asked === actorAsksMax)
    await pause(50)
    equal(actors.asked, actorAsksMax)
    const { exchange: m } = await peer('m')
    equal(((await m.ask('b', { what: 'tree', path: null })) as string).length, 1_000_000)
    hostile.abort(new Error('enough'))
    equal(b.refused().get('malformed'), 0)
  })

  it('closes the stream of who sends garbage, counts it, and lets others be', async () => {
    const [{ exchange: a }, { exchange: b }] = [await peer('a'), await peer('b')]
    for (const garbage of [Buffer.from('GET / HTTP/1.1'), Buffer.alloc(0), Buffer.alloc(70_000, 'Q')]) {
      const hostile = (await net.peers.get('m')?.open('b', ACTOR_PROTOCOL)) ?? (await hostileOf('m'))
      await hostile.send(garbage)
      await rejects(hostile.receive({ signal: AbortSignal.timeout(5_000) }))
    }
    equal(b.refused().get('malformed'), 3)
    deepEqual(await a.ask('b', { what: 'tree', path: null }), { what: 'tree', path: null })

    async function hostileOf(self: string) {
      return net.peer(self).open('b', ACTOR_PROTOCOL)
    }
  })

  it('bounds the watches of one peer, and gives it one stream only', async () => {
    const [, { exchange: b, actors }] = [await peer('a'), await peer('b')]
    const first = await net.peers.get('a')!.open('b', ACTOR_PROTOCOL)
    for (let i = 1; i <= actorWatchesPerPeerMax + 5; i++) await first.send(requests.watch(i, null))
    await until('the rest is refused', () => b.refused().get('limit') === 5)
    equal(actors.watching.size, actorWatchesPerPeerMax)
    const second = await net.peers.get('a')!.open('b', ACTOR_PROTOCOL)
    await until('the first stream is over', () => actors.watching.size === 0)
    second.abort(new Error('enough'))
  })

  it('closes a stream that nobody uses any more', async () => {
    const clock = new FakeClock()
    const [{ exchange: a }] = [await peer('a', clock), await peer('b', clock)]
    await a.ask('b', { what: 'tree', path: null })
    equal(net.open, 1)
    await clock.advance(actorLinkIdleMs)
    equal(net.open, 0)
    deepEqual(await a.ask('b', { what: 'tree', path: null }), { what: 'tree', path: null })
  })
})
