import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { asCaller } from '../../src/caller.ts'
import { systemClock } from '../../src/clock.ts'
import type { Replica } from '../../src/crdt/replica.ts'
import { covers, SCOPES } from '../../src/crdt/scopes.ts'
import { isSecretOf, parseToken } from '../../src/crdt/token.ts'
import {
  ForbiddenError,
  InvalidRequestError,
  NameTakenError,
  ServiceLimitExceededError,
  TokenNotFoundError
} from '../../src/errors.ts'
import { Bench, peerRecord, pull, serviceInput, signer } from './support.ts'

describe('crdt/tokens and policy', function () {
  this.timeout(60_000)
  const bench = new Bench()
  afterEach(() => bench.clean())

  async function two(): Promise<[Replica, Replica]> {
    const a = await bench.founder(1)
    const b = await bench.joiner(a, 2)
    await pull(a, b)
    return [a, b]
  }
  const hour = { expiresAt: systemClock.now() + 3_600_000 }

  it('a token is good at each peer that has heard of it, and at none once it is revoked; only a hash travels', async () => {
    const [a, b] = await two()
    const { record, text } = await a.createToken({ name: 'ci', scopes: ['services.write', 'peers.read'], ...hour })
    await pull(b, a)
    const seen = b.view().tokens.get(record.id)
    assert.deepEqual(seen, record)
    assert.deepEqual(record.scopes, ['peers.read', 'services.write'])
    const parsed = parseToken(text)
    assert.ok(parsed != null && parsed.id === record.id && isSecretOf(record, parsed.secret))
    assert.equal(isSecretOf(record, new Uint8Array(32)), false)
    const secret = text.split('_').slice(2).join('_')
    const bytes = Buffer.concat([...b.missing({}, Infinity)].flat())
    for (const form of [secret, Buffer.from(secret, 'base64url')]) assert.equal(bytes.includes(form), false)

    await b.revokeToken(record.id)
    await pull(a, b)
    assert.equal(a.view().tokens.size, 0)
    await assert.rejects(a.revokeToken(record.id), TokenNotFoundError)
  })

  it('is there after a restart', async () => {
    const dir = await bench.dir()
    const a = await bench.open(dir, signer(1))
    await a.init({ name: 'test', record: peerRecord(a.self, 'peer-1') })
    const { record } = await a.createToken({ scopes: ['admin'], ...hour })
    await a.setPolicy({ max_services: 3 })
    await a.close()
    const again = await bench.open(dir, signer(1))
    assert.deepEqual([...again.view().tokens.values()], [record])
    assert.deepEqual(again.view().policy, { max_services: 3 })
  })

  it('and a policy are in a snapshot, revocations too', async () => {
    const dir = await bench.dir()
    const a = await bench.open(dir, signer(1), undefined, 5)
    await a.init({ name: 'test', record: peerRecord(a.self, 'peer-1') })
    const kept = await a.createToken({ scopes: ['admin'], ...hour })
    const revoked = await a.createToken({ scopes: ['admin'], ...hour })
    await a.revokeToken(revoked.record.id)
    await a.setPolicy({ max_services: 3 })
    const taken = (): boolean => readdirSync(join(dir, 'cluster')).some((name) => name.includes('snapshot'))
    for (let i = 0; i < 200 && !taken(); i++) {
      await a.renamePeer(a.self, `peer-${i}`)
      await systemClock.sleep(10)
    }
    assert.ok(taken(), readdirSync(join(dir, 'cluster')).join())
    await a.close()
    const { tokens, policy } = (await bench.open(dir, signer(1))).view()
    assert.deepEqual([[...tokens.values()], policy], [[kept.record], { max_services: 3 }])
  })

  it('cannot be made by a member, twice by one name, of unknown scopes, or for ever', async () => {
    const [a, b] = await two()
    await a.createToken({ name: 'ci', scopes: ['admin'], ...hour })
    await assert.rejects(a.createToken({ name: 'ci', scopes: ['admin'], ...hour }), NameTakenError)
    await assert.rejects(a.createToken({ scopes: [], ...hour }), InvalidRequestError)
    await assert.rejects(a.createToken({ scopes: ['services.all' as 'admin'], ...hour }), InvalidRequestError)
    const now = systemClock.now()
    for (const expiresAt of [0, now - 1, Number.NaN, Infinity, now + 3651 * 86_400_000]) {
      await assert.rejects(a.createToken({ scopes: ['admin'], expiresAt }), InvalidRequestError, String(expiresAt))
    }
    await a.setRole(b.self, 'member')
    await pull(b, a)
    await assert.rejects(b.createToken({ scopes: ['admin'], ...hour }), ForbiddenError)
    await assert.rejects(b.setPolicy({ max_services: 1 }), ForbiddenError)
  })

  it('a change says for which token it was made, to all peers, and so does an entry of the auth log', async () => {
    const [a, b] = await two()
    const caller = { id: '01J00000000000000000000000', name: 'ci' }
    await asCaller(caller, () => a.createService(serviceInput(a, b, { name: 'web' })))
    await asCaller(caller, () => a.setRole(b.self, 'member'))
    await a.renamePeer(a.self, 'by hand')
    await pull(b, a)
    const told = (await b.history({ limit: 3 })).map(({ via, verified, objects }) => [
      objects[0]?.action,
      via,
      verified
    ])
    const via = 'token 01J00000000000000000000000 ci'
    assert.deepEqual(told, [
      ['updated', null, true],
      ['role', via, true],
      ['created', via, true]
    ])
  })

  it('an admission says for which token its invite was made', async () => {
    const a = await bench.founder(1)
    const caller = { id: '01J00000000000000000000000', name: 'ci' }
    const token = asCaller(caller, () =>
      a.createInvite({ ttlMs: 60_000, uses: 1, role: 'member', addresses: ['/ip4/127.0.0.1/tcp/1'] })
    )
    await a.admit({ token, peer: signer(2).peerId, name: 'b' })
    const [admission] = await a.history({ limit: 1 })
    assert.deepEqual([admission?.objects[0]?.action, admission?.via], ['admit', 'token 01J00000000000000000000000 ci'])
  })

  it('what an agent says of itself is its own doing, whoever asked for what led to it', async () => {
    const a = await bench.founder(1)
    const held = a.view().members.get(a.self)?.record
    assert.ok(held != null)
    await asCaller({ id: 'x', name: 'ci' }, () => a.putPeer({ ...held, version: '0.2.0' }))
    assert.equal((await a.history({ limit: 1 }))[0]?.via, null)
  })

  it('a history of tokens shows no hash', async () => {
    const a = await bench.founder(1)
    const { record } = await a.createToken({ scopes: ['admin'], ...hour })
    await a.revokeToken(record.id)
    const history = await a.history({ object: record.id })
    assert.deepEqual(
      history.map(({ objects }) => objects[0]?.action),
      ['deleted', 'created']
    )
    assert.doesNotMatch(JSON.stringify(history), new RegExp(record.hash))
  })

  it('a policy limits what is asked for from then on, and takes nothing away', async () => {
    const [a, b] = await two()
    for (const name of ['one', 'two']) await a.createService(serviceInput(a, b, { name }))
    await a.setPolicy({ max_services: 1 })
    await assert.rejects(a.createService(serviceInput(a, b)), ServiceLimitExceededError)
    assert.equal(a.view().services.size, 2)
    await pull(b, a)
    await assert.rejects(b.createService(serviceInput(a, b)), ServiceLimitExceededError)
    for (const { id } of a.view().services.values()) await a.deleteService(id)
    await a.createService(serviceInput(a, b))
    await a.setPolicy({ max_services: null })
    await a.createService(serviceInput(a, b))
    await assert.rejects(a.setPolicy({ max_services: -1 }), InvalidRequestError)
    await assert.rejects(a.setPolicy({ max_services: 1.5 }), InvalidRequestError)
  })

  it('of two peers that create at once over the limit both keep what they were promised', async () => {
    const [a, b] = await two()
    await a.setPolicy({ max_services: 1 })
    await pull(b, a)
    await a.createService(serviceInput(a, b, { name: 'one' }))
    await b.createService(serviceInput(a, b, { name: 'two' }))
    await pull(a, b)
    await pull(b, a)
    for (const replica of [a, b]) assert.equal(replica.view().services.size, 2)
  })

  it('write holds read, admin holds all, and nothing else holds anything', () => {
    for (const scope of SCOPES) {
      assert.ok(covers(['admin'], scope))
      assert.ok(covers([scope], scope))
      assert.equal(covers([], scope), false)
      for (const held of SCOPES.filter((one) => one !== scope && one !== 'admin')) {
        assert.equal(covers([held], scope), held === scope.replace('.read', '.write'), `${held} for ${scope}`)
      }
    }
  })
})
