import assert from 'node:assert/strict'
import * as fc from 'fast-check'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it, before, after } from 'mocha'
import { systemClock } from '../../src/clock.ts'
import { EngineClient } from '../../src/dataplane/engine-client.ts'
import { engineState, type EngineState } from '../../src/dataplane/engine-state.ts'
import { pegasusChange } from '../../src/dataplane/pegasus-change.ts'
import type { PegasusState, PegasusStats } from '../../src/dataplane/pegasus.ts'
import { builtEngines, keyPair, needsEngines } from './support/engines.ts'
import { Namespace, needsKernel } from './support/namespace.ts'
import { EMPTY } from './support/empty-pegasus.ts'

const { privateKey, publicKey } = keyPair()

/** What an engine under test was told, and how. */
interface Told {
  client: EngineClient
  whole: number
  changes: number
}

describe('changes told to Pegasus', function () {
  this.timeout(120_000)
  let host: Namespace
  let dir: string
  before(needsKernel)
  before(needsEngines)
  before(() => {
    host = new Namespace()
    dir = mkdtempSync(join(tmpdir(), 'dpt-'))
  })
  after(() => {
    host?.remove()
    if (dir != null) rmSync(dir, { recursive: true })
  })

  async function start(name: string): Promise<Told> {
    const path = join(dir, `${name}.sock`)
    host.spawn(join(builtEngines()!, 'pegasus'), ['--control', path, '--workers', '2', '--log-level', 'warn'])
    return { client: await connect(path), whole: 0, changes: 0 }
  }

  async function connect(path: string): Promise<EngineClient> {
    for (let left = 500; ; left--) {
      try {
        return await EngineClient.connect(path, systemClock)
      } catch (error) {
        if (left === 0) throw error
        await systemClock.sleep(20)
      }
    }
  }

  let generation = 0
  /** What the engine has in force afterwards, as far as it tells. */
  async function tell(told: Told, state: PegasusState, byChanges = true): Promise<object> {
    const made = byChanges ? engineState(state, pegasusChange) : engineState(state)
    const noted: EngineState = {
      text: () => {
        told.whole++
        return made.text()
      },
      since: (base) => {
        const change = made.since((base as EngineState & { made: EngineState }).made)
        if (change != null) told.changes++
        return change
      }
    }
    const message = { generation: ++generation, privateKey, privateKeyBefore: null }
    const applied = await told.client.apply({ ...message, state: Object.assign(noted, { made }) })
    assert.equal(applied.generation, generation)
    const stats = await told.client.stats<PegasusStats>()
    return {
      errors: applied.errors.map((error) => JSON.stringify(error)).sort(),
      listeners: applied.listeners?.map(({ name, port }) => `${name} ${port > 0}`),
      services: stats.services.map((service) => JSON.stringify(service)).sort(),
      peers: stats.peers.map(({ peer_id: id, transport }) => `${id} ${transport}`).sort()
    }
  }

  it('leave it with what the whole state would, whatever they are', async () => {
    const [changed, whole] = [await start('changed'), await start('whole')]
    const id = fc.constantFrom('s1', 's2', 's3', 's4', 's5', 'x'.repeat(200))
    const cidr = fc.constantFrom(null, '10.0.0.0/8', '10.1.0.0/16', '10.1.0.1/16')
    const step = fc.record({
      outbound: fc.subarray(['s1', 's2', 's3']),
      transport: fc.constantFrom('tcp' as const, 'kcp' as const),
      inbound: fc.uniqueArray(fc.record({ id, dest: cidr }), { selector: (service) => service.id, maxLength: 4 }),
      routes: fc.array(fc.record({ id, source: cidr, dest: cidr }), { maxLength: 8 }),
      devices: fc.subarray(['d1', 'd2']),
      peers: fc.subarray(['p1', 'p2'])
    })
    const states = fc.array(step, { minLength: 2, maxLength: 8 })
    await fc.assert(
      fc.asyncProperty(states, async (steps) => {
        let state = EMPTY
        for (const { outbound, transport, inbound, routes, devices, peers } of steps) {
          state = {
            ...state,
            peers: peers.map((peer) => kept(state.peers, { peer_id: peer, public_key: publicKey, addresses: [] })),
            outbound: outbound.map((one) => kept(state.outbound, { ...SERVICE, service_id: one, transport })),
            inbound: inbound.map(({ id: one, dest }) =>
              kept(state.inbound, { ...SERVICE, service_id: one, routes: [{ source: null, dest }] })
            ),
            listeners: [
              {
                name: 'general',
                port: 0,
                table: {
                  attached: [],
                  routes: routes.map(({ id: one, source, dest }) => ({ service_id: one, route_id: 'r', source, dest }))
                }
              },
              ...devices.map((name) => kept(state.listeners, { name, port: 0, service_id: 's1' }))
            ]
          }
          assert.deepEqual(await tell(changed, state), await tell(whole, state, false))
        }
      }),
      { numRuns: 25 }
    )
    assert.ok(changed.changes > 50, `${changed.changes} changes`)
    assert.equal(whole.changes, 0)
    for (const { client } of [changed, whole]) client.close()
  })

  it('are not built on what another agent has told, nor on what an engine before had', async () => {
    const first = await start('shared')
    const second: Told = { client: await connect(join(dir, 'shared.sock')), whole: 0, changes: 0 }
    const told = (...ids: string[]): PegasusState => ({
      ...EMPTY,
      outbound: ids.map((service_id) => ({ ...SERVICE, service_id }))
    })
    const ids = async (one: Told, state: PegasusState): Promise<string[]> => {
      await tell(one, state)
      const { services } = await one.client.stats<PegasusStats>()
      return services.map(({ service_id: service }) => service).sort()
    }
    assert.deepEqual(await ids(first, told('a')), ['a'])
    assert.deepEqual(await ids(first, told('a', 'b')), ['a', 'b'])
    assert.deepEqual([first.whole, first.changes], [1, 1])
    assert.deepEqual(await ids(second, told('z')), ['z'])
    assert.deepEqual(await ids(first, told('a', 'b', 'c')), ['a', 'b', 'c'], 'nothing of the other is left')
    assert.deepEqual([first.whole, first.changes], [2, 2], 'the change was refused, and the whole told')
    assert.deepEqual(await ids(first, told('c')), ['c'])
    assert.deepEqual([first.whole, first.changes], [2, 3])
    assert.equal((await connect(join(dir, 'shared.sock'))).hello.generation, generation)

    process.kill(first.client.hello.pid, 'SIGKILL')
    const again = await start('shared')
    assert.equal(again.client.hello.generation, null)
    assert.deepEqual(await ids(again, told('a', 'd')), ['a', 'd'])
    assert.deepEqual([again.whole, again.changes], [1, 0])
    for (const { client } of [first, second, again]) client.close()
  })
})

const SERVICE = { peer_id: 'p1', transport: 'tcp', bandwidth_mbps: 0, transparent: false } as const

/** The very object of before where it says the same, as states that follow each other have. */
function kept<T extends object>(before: readonly T[], now: T): T {
  const text = JSON.stringify(now)
  return before.find((one) => JSON.stringify(one) === text) ?? now
}
