import assert from 'node:assert/strict'
import { describe, it } from 'mocha'
import { FAULTS, type FaultKind } from '../../sim/faults.ts'
import { noveltiesOf } from '../../sim/host/newer.ts'
import type { SimHost } from '../../sim/host/host.ts'
import { Attacker } from '../../sim/hostile/attacker.ts'
import { Lane } from '../../sim/net/wire.ts'
import { fault } from '../../sim/scenarios/scenario.ts'
import { operatorOf, World } from '../../sim/world.ts'

/** A founder, an admin and a member at rest, and a fault that has just begun. */
interface Trial {
  world: World
  a: SimHost
  b: SimHost
  c: SimHost
  end: () => Promise<void>
}

interface Menu {
  groups?: number[][]
  amount?: number
  forMs?: number
  /** Before it begins; what it answers is given to `shows`. */
  before?: (trial: Omit<Trial, 'end'>) => Promise<number> | number
  shows: (trial: Trial, before: number) => Promise<void>
}

/** Delays of so many datagrams from one host to another, in the order of arrival, with their numbers. */
async function datagrams(world: World, from: SimHost, to: SimHost, count: number, waitMs = 3_000) {
  const arrived: Array<{ n: number; ms: number }> = []
  const began = world.now
  for (let n = 0; n < count; n++)
    world.wire.datagram(from.station, to.station, () => arrived.push({ n, ms: world.now - began }))
  await world.scheduler.sleep(waitMs)
  return arrived
}

/** How long a message of a TCP connection takes, ms; null when it has not come after `waitMs`. */
async function message(world: World, from: SimHost, to: SimHost, waitMs = 3_000): Promise<() => number | null> {
  const began = world.now
  let ms: number | null = null
  new Lane(world.wire, from.station, to.station).send(() => void (ms = world.now - began))
  await world.scheduler.sleep(waitMs)
  return () => ms
}

const reaches = async (world: World, from: SimHost, to: SimHost): Promise<boolean> =>
  (await datagrams(world, from, to, 1, 200)).length === 1

let named = 0
/** Virtual ms that a write takes. */
async function write(world: World, at: SimHost, { a, c }: Pick<Trial, 'a' | 'c'>): Promise<number> {
  const began = world.now
  const ends = { source_peer_id: a.id, target_peer_id: c.id }
  await operatorOf(at).createService({ name: `service-${named++}`, ...ends })
  return world.now - began
}

const agentOf = ({ agent, name }: SimHost) => agent ?? assert.fail(`${name} is not up`)
const rules = ({ kernel }: SimHost): number => kernel.desired.outbound.length

const MENU: Record<FaultKind, Menu> = {
  split: {
    groups: [[0]],
    async shows({ world, a, b, c, end }) {
      assert.deepEqual(
        [await reaches(world, a, b), await reaches(world, c, a), await reaches(world, b, c)],
        [false, false, true]
      )
      const held = await message(world, a, b)
      assert.equal(held(), null)
      await end()
      await world.scheduler.sleep(1_000)
      assert.ok(held() != null, 'what was held did not come when it healed')
      assert.ok(await reaches(world, a, b))
    }
  },
  cut: {
    groups: [[0], [1]],
    async shows({ world, a, b, c, end }) {
      const found = [
        await reaches(world, a, b),
        await reaches(world, b, a),
        await reaches(world, a, c),
        await reaches(world, c, b)
      ]
      assert.deepEqual(found, [false, false, true, true])
      await end()
      assert.ok(await reaches(world, a, b))
    }
  },
  oneway: {
    groups: [[0], [1]],
    async shows({ world, a, b, end }) {
      assert.deepEqual([await reaches(world, a, b), await reaches(world, b, a)], [false, true])
      await end()
      assert.ok(await reaches(world, a, b))
    }
  },
  loss: {
    amount: 50,
    async shows({ world, a, b, end }) {
      const { length } = await datagrams(world, a, b, 200)
      assert.ok(length > 40 && length < 160, `${length} of 200 came`)
      const delays = []
      for (let i = 0; i < 10; i++)
        delays.push((await message(world, a, b, 20_000))() ?? assert.fail('TCP lost a message'))
      assert.ok(Math.max(...delays) >= 200, 'nothing was sent again')
      await end()
      assert.equal((await datagrams(world, a, b, 200)).length, 200)
    }
  },
  latency: {
    groups: [[1]],
    amount: 300,
    async shows({ world, a, b, c, end }) {
      const delays = (await datagrams(world, a, b, 50)).map(({ ms }) => ms)
      assert.ok(Math.min(...delays) >= 300 && Math.max(...delays) - Math.min(...delays) > 100, 'no delay, or no jitter')
      assert.ok(((await message(world, b, a))() ?? 0) >= 300)
      assert.ok(Math.max(...(await datagrams(world, a, c, 50)).map(({ ms }) => ms)) < 100)
      await end()
      assert.ok(Math.max(...(await datagrams(world, a, b, 50)).map(({ ms }) => ms)) < 100)
    }
  },
  reorder: {
    amount: 300,
    async shows({ world, a, b, end }) {
      const order = async (): Promise<number[]> => (await datagrams(world, a, b, 50)).map(({ n }) => n)
      const shuffled = await order()
      const overtaken = shuffled.filter((n, i) => i > 0 && n < (shuffled[i - 1] ?? 0)).length
      assert.ok(shuffled.length === 50 && overtaken > 10)
      const spread = (await datagrams(world, a, b, 50)).map(({ ms }) => ms)
      assert.ok(Math.max(...spread) - Math.min(...spread) > 100)
      await end()
      const calm = (await datagrams(world, a, b, 50)).map(({ ms }) => ms)
      assert.ok(Math.max(...calm) - Math.min(...calm) < 5)
    }
  },
  duplicate: {
    amount: 50,
    async shows({ world, a, b, end }) {
      const { length } = await datagrams(world, a, b, 200)
      assert.ok(length > 240 && length < 360, `200 became ${length}`)
      await end()
      assert.equal((await datagrams(world, a, b, 200)).length, 200)
    }
  },
  kill: {
    groups: [[1]],
    before: ({ b }) => b.kernel.engines.pegasus.pid ?? 0,
    async shows(trial, pid) {
      const { world, b, end } = trial
      assert.equal(b.agent, null)
      assert.equal(b.kernel.engines.pegasus.pid, pid, 'its engines go on')
      await end()
      await write(world, b, trial)
      assert.equal(b.lives, 2)
    }
  },
  power: {
    groups: [[1]],
    async before({ b }) {
      // Thirty writes that are in the page cache only, of a file that nobody else uses.
      const disk = b.disk.session(agentOf(b).clock)
      await disk.write('/state/page-cache', new Uint8Array(0))
      const file = await disk.open('/state/page-cache')
      for (let i = 0; i < 30; i++) await file.write(new Uint8Array(100), i * 100)
      return file.size()
    },
    async shows(trial, written) {
      const { world, b, end } = trial
      assert.equal(written, 3_000)
      assert.deepEqual([b.agent, b.kernel.engines.pegasus.pid, b.station.powered], [null, null, false])
      await end()
      const left = await b.disk.session(agentOf(b).clock).read('/state/page-cache')
      assert.ok((left?.length ?? 0) < written, 'nothing of it was lost')
      await write(world, b, trial)
    }
  },
  restart: {
    groups: [[1]],
    before: ({ b }) => b.kernel.engines.pegasus.pid ?? 0,
    async shows({ world, b, end }, pid) {
      await world.scheduler.sleep(500)
      assert.equal(b.agent, null)
      await end()
      assert.deepEqual([b.lives, b.kernel.engines.pegasus.pid], [2, pid])
      assert.deepEqual(world.violations, [])
    }
  },
  freeze: {
    groups: [[1]],
    forMs: 5_000,
    async shows({ world, a, b }) {
      const began = world.now
      let at: number | null = null
      agentOf(b).clock.after(10, () => void (at = world.now - began))
      const [first] = await datagrams(world, a, b, 1, 7_000)
      assert.ok((at ?? 0) >= 5_000 && (first?.ms ?? 0) >= 5_000, `${String(at)} ${first?.ms}`)
    }
  },
  'disk-full': {
    groups: [[1]],
    async shows(trial) {
      const { world, b, end } = trial
      await assert.rejects(write(world, b, trial), { code: 'unavailable' })
      await end()
      await world.scheduler.sleep(5_000)
      await write(world, b, trial)
    }
  },
  'disk-slow': {
    groups: [[1]],
    amount: 100,
    async shows(trial) {
      const { world, a, b, end } = trial
      const [slow, other] = [await write(world, b, trial), await write(world, a, trial)]
      assert.ok(slow > 50 && other < 20, `${slow} and ${other} ms`)
      await end()
      await world.scheduler.sleep(1_000)
      assert.ok((await write(world, b, trial)) < 20)
    }
  },
  'clock-jump': {
    groups: [[1]],
    amount: -3_600_000,
    async shows({ a, b, end }) {
      const apart = (): number => agentOf(b).clock.now() - agentOf(a).clock.now()
      assert.ok(Math.abs(apart() + 3_600_000) < 5 && agentOf(b).clock.monotonic() === agentOf(a).clock.monotonic())
      await end()
      assert.ok(Math.abs(apart()) < 5)
    }
  },
  'clock-skew': {
    groups: [[1]],
    amount: 200,
    async shows({ world, a, b, end }) {
      const apart = (): number => agentOf(b).clock.now() - agentOf(a).clock.now()
      await world.scheduler.sleep(10_000)
      assert.ok(Math.abs(apart() - 2_000) < 5, `${apart()} ms apart after 10 s`)
      await end()
      assert.ok(Math.abs(apart()) < 5)
    }
  },
  'kernel-refuses': {
    groups: [[0]],
    async shows(trial) {
      const { world, a, b, end } = trial
      await write(world, b, trial)
      await world.scheduler.sleep(2_000)
      assert.equal(rules(a), 0)
      await end()
      await world.scheduler.sleep(3_000)
      assert.equal(rules(a), 1)
    }
  },
  slow: {
    groups: [[1]],
    amount: 100,
    async shows(trial) {
      const { world, a, b, end } = trial
      assert.ok((await write(world, b, trial)) > 50)
      assert.ok((await datagrams(world, a, b, 1))[0]!.ms >= 100)
      assert.ok((await datagrams(world, b, a, 1))[0]!.ms < 100)
      assert.deepEqual([b.kernel.slowness, b.disk.slowness], [100, 100])
      await end()
      assert.deepEqual([b.kernel.slowness, b.disk.slowness], [1, 1])
      assert.ok((await datagrams(world, a, b, 1))[0]!.ms < 100)
    }
  },
  revoke: {
    groups: [[2]],
    async shows({ world, a, b, c, end }) {
      await end()
      await world.scheduler.sleep(2_000)
      for (const host of [a, b]) assert.equal(agentOf(host).replica.view().departed?.get(c.id)?.how, 'revoked')
    }
  },
  clone: {
    groups: [[1]],
    forMs: 8_000,
    async shows({ world, b, end }) {
      await world.scheduler.sleep(3_000)
      const clone = world.hosts[3] ?? assert.fail('there is no clone')
      assert.deepEqual([clone.id === b.id, clone.station === b.station], [true, false])
      assert.equal(agentOf(clone).replica.clusterId(), agentOf(b).replica.clusterId())
      await end()
      assert.deepEqual([clone.agent, b.agent == null], [null, false])
    }
  },
  traitor: {
    groups: [[1]],
    forMs: 10_000,
    async before({ world }) {
      const sent = world.wire.datagrams
      await world.scheduler.sleep(10_000)
      return world.wire.datagrams - sent
    },
    async shows({ world, a, b, c }, calm) {
      const seen = { forged: 0, replayed: 0, unsigned: 0 }
      for (const { replica } of [a, c].map(agentOf)) {
        const [receive, check] = [replica.receive.bind(replica), replica.check.bind(replica)]
        replica.receive = async (envelopes, from) => {
          const result = await receive(envelopes, from)
          if (from === b.id) seen.forged += result.refused.length
          if (from === b.id) seen.replayed += result.known
          return result
        }
        replica.check = (envelope) => {
          const verdict = check(envelope)
          if (verdict === 'reject') seen.unsigned++
          return verdict
        }
      }
      const sent = world.wire.datagrams
      await world.scheduler.sleep(10_000)
      assert.ok(seen.forged > 0 && seen.replayed > 0 && seen.unsigned > 0, JSON.stringify(seen))
      assert.ok(world.wire.datagrams - sent > 2 * calm, 'it did not flood')
      const { departed } = agentOf(a).replica.view()
      assert.equal(departed?.get(b.id)?.how, 'proven', 'it did not sign two things as one')
    }
  },
  newer: {
    groups: [[1]],
    forMs: 10_000,
    before: (trial) => write(trial.world, trial.a, trial),
    async shows({ world, c, end }) {
      await world.scheduler.sleep(8_000)
      await end()
      await world.scheduler.sleep(1_000)
      assert.ok(world.novelties.size > 0)
      const held = noveltiesOf(c)
      for (const [path, { value }] of world.novelties) assert.equal(held.at(path), value, path)
    }
  },
  pegasus: { groups: [[1]], shows: (trial) => engineDies(trial, 'pegasus') },
  tempest: { groups: [[1]], shows: (trial) => engineDies(trial, 'tempest') }
}

async function engineDies({ world, b }: Trial, name: 'pegasus' | 'tempest'): Promise<void> {
  const engine = b.kernel.engines[name]
  assert.deepEqual([engine.state, engine.pid, engine.restarts], ['failed', null, 1])
  await world.scheduler.sleep(1_500)
  assert.equal(engine.state, 'ready')
}

describe('sim: each fault of the menu does what it says, and no more when it has ended', function () {
  this.timeout(120_000)
  this.slow(20_000)

  for (const [kind, { groups = [], amount = 0, forMs = 60_000, before, shows }] of Object.entries(MENU)) {
    it(`${kind}: ${FAULTS[kind as FaultKind].about}`, async () => {
      const world = new World(`fault ${kind}`)
      await world.scheduler.run(
        (async () => {
          const a = await world.found('menu')
          const b = await world.join(a, 'admin')
          const c = await world.join(a)
          await world.scheduler.sleep(3_000)
          const known = (await before?.({ world, a, b, c })) ?? 0
          const over = FAULTS[kind as FaultKind].begin(world, fault(kind as FaultKind, 0, forMs, groups, amount))
          await shows({ world, a, b, c, end: async () => over() }, known)
          await Promise.all(world.hosts.map((host) => host.stop('remove')))
        })()
      )
    })
  }

  it('a stranger tries invites of its own, introduces itself and speaks as a member', async () => {
    const world = new World('fault stranger')
    await world.scheduler.run(
      (async () => {
        const a = await world.found('menu')
        const stranger = world.host()
        await stranger.boot()
        const { replica } = agentOf(a)
        const seen = { asked: 0, admitted: 0, introduced: 0 }
        const [admit, receive] = [replica.admit.bind(replica), replica.receive.bind(replica)]
        replica.admit = async (input) => {
          if (input.peer === stranger.id) seen.asked++
          await admit(input)
          seen.admitted++
        }
        replica.receive = async (envelopes, from) => {
          if (from === stranger.id) seen.introduced++
          return receive(envelopes, from)
        }
        await new Attacker(world, stranger).asStranger(10_000)
        assert.ok(seen.asked > 0 && seen.introduced > 0, JSON.stringify(seen))
        assert.equal(seen.admitted, 0)
        assert.deepEqual([...replica.view().members.keys()], [a.id])
        await a.stop('remove')
      })()
    )
  })
})
