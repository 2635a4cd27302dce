import assert from 'node:assert/strict'
import type { ServiceRecord } from '../../src/crdt/schema.ts'
import { attempt } from '../../src/crdt/validate.ts'
import { FakeLab, type FakeAgent } from './fakes/agents.ts'
import { FakeLog } from './fakes/log.ts'
import { member, peerId, peerRecord, route, service, ulid } from './fakes/records.ts'

/** A record on which whoever reads `field` fails: what a bug of this agent, met by valid data, looks like. */
function poisoned<T extends object>(record: T, field: keyof T): T {
  return Object.defineProperty({ ...record }, field, {
    enumerable: true,
    get() {
      throw new TypeError(`boom at ${String(field)}`)
    }
  })
}

describe('a record that this agent fails on', () => {
  let lab: FakeLab
  let log: FakeLog
  let a: FakeAgent
  let b: FakeAgent

  beforeEach(async () => {
    lab = new FakeLab()
    log = new FakeLog()
    a = await lab.agent('a', { log })
    b = await lab.agent('b')
  })
  afterEach(() => lab.stop())

  const put = async (...records: ServiceRecord[]): Promise<void> => {
    for (const record of records) lab.document.services.set(record.id, record)
    lab.document.changed()
    await lab.clock.advance(50)
  }
  const carried = async (): Promise<string> => {
    const { id } = await a.actors.operator.createService({ target_peer_id: 'b' })
    await a.actors.operator.addRoutes(id, [{ dest_cidr: '10.2.0.0/24' }])
    await lab.clock.advance(50)
    return id
  }
  const programmed = (agent: FakeAgent): string[] => agent.dataplane.told.at(-1)?.outbound.map(({ id }) => id) ?? []

  it('is left out and named with its change, its author and the error; all else goes on', async () => {
    const before = await carried()
    const bad = poisoned(service(900, 'a', 'b'), 'transport_type')
    a.replica.changes.push({
      id: 'ab'.repeat(32),
      author: peerId('b'),
      at: '2026-01-01T00:00:00.000Z',
      kind: 'change',
      objects: [{ kind: 'service', id: bad.id, action: 'created', fields: {} }],
      verified: true,
      valid: true,
      reason: null,
      via: null
    })
    await put(bad)
    const after = await carried()
    assert.deepEqual(programmed(a), [before, after])
    for (const id of [before, after]) assert.equal((await a.sees(id)).status.phase, 'active')
    const [rejected] = (await a.actors.operator.clusterStatus()).rejected_changes
    assert.deepEqual([rejected?.hash, rejected?.author], ['ab'.repeat(32), peerId('b')])
    assert.match(rejected?.reason ?? '', new RegExp(`^service ${bad.id}: .* TypeError: boom at transport_type$`))
    assert.ok(log.messages('error').some((message) => message.includes('fails on a record')))
    assert.deepEqual([a.fatal, b.fatal], [[], []])
    // Another one in its place gets its chance.
    await put({ ...service(900, 'a', 'b'), name: 'mended' })
    assert.deepEqual((await a.actors.operator.clusterStatus()).rejected_changes, [])
    assert.ok(programmed(a).includes(bad.id))
  })

  it('is found among others that came with it, though it fails only together with them', async () => {
    const before = await carried()
    const [bad, good] = [poisoned(service(901, 'a', 'b'), 'name'), service(902, 'a', 'b')]
    await put(bad, good)
    assert.deepEqual(programmed(a), [before, good.id].sort())
    assert.equal((await a.actors.operator.clusterStatus()).rejected_changes.length, 1)
  })

  it('may be a route or what a peer says of itself: the rest of both stays', async () => {
    const id = await carried()
    lab.document.routes.set(ulid(903), poisoned({ ...route(903, 1), service_id: id }, 'dest_cidr'))
    lab.document.changed()
    await lab.clock.advance(50)
    assert.equal(a.dataplane.told.at(-1)?.outbound[0]?.routes.length, 1)
    lab.document.admit(member('x', poisoned(peerRecord('x'), 'data_addresses')))
    await lab.clock.advance(50)
    const again = await carried()
    assert.equal((await a.sees(again)).status.phase, 'active')
    const named = (await a.actors.operator.clusterStatus()).rejected_changes.map(({ reason }) => reason.split(' ')[0])
    assert.deepEqual(named.sort(), ['peer', 'route'])
  })

  it('does not keep an agent from starting', async () => {
    const before = await carried()
    const bad = poisoned(service(904, 'a', 'b'), 'bandwidth_limit_mbps')
    await a.actors.stop()
    lab.document.services.set(bad.id, bad)
    const again = await lab.agent('a', { admitted: false })
    await lab.clock.advance(50)
    assert.deepEqual(programmed(again), [before])
  })

  it('costs one record when it is a check of the replica that fails', () => {
    const checked = attempt(() => assert.fail('boom'))
    assert.ok('reason' in checked && /this agent fails on it: .*boom/.test(checked.reason))
  })
})
