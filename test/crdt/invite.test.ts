import assert from 'node:assert/strict'
import * as fc from 'fast-check'
import { checkInvite, createInvite, parseInvite } from '../../src/crdt/invite.ts'
import { InviteExpiredError, InviteInvalidError, InviteUsedError } from '../../src/errors.ts'
import { Bench, invite, peerRecord, pull, signer } from './support.ts'

const input = {
  id: new Uint8Array(16).fill(7),
  clusterId: 'C'.repeat(26),
  clusterName: 'home',
  addresses: ['/ip4/10.0.0.1/tcp/7946', '/ip6/fd00::1/tcp/7946'],
  expiresAt: 5000,
  uses: 2,
  role: 'member',
  via: null
} as const

describe('crdt/invite', function () {
  this.timeout(60_000)
  const bench = new Bench()
  afterEach(() => bench.clean())

  const token = createInvite(signer(1), { ...input, addresses: [...input.addresses] })

  it('is one line of URL-safe text that says all that was put in', () => {
    assert.match(token, /^arctic1\.[\w-]+$/)
    const { bytes: _, ...read } = parseInvite(`  ${token}\n`)
    const { id, ...rest } = input
    const said = { ...rest, id: Buffer.from(id).toString('hex'), inviter: signer(1).peerId }
    assert.deepEqual(read, said)
    const via = 'token 01J00000000000000000000000 ci'
    const { bytes: __, ...other } = parseInvite(
      createInvite(signer(1), { ...input, addresses: [...input.addresses], via })
    )
    assert.deepEqual(other, { ...said, via })
  })

  it('is refused with a reason when cut anywhere, altered anywhere, or something else', () => {
    for (let length = 0; length < token.length; length++) {
      assert.throws(() => parseInvite(token.slice(0, length)), InviteInvalidError, `cut at ${length}`)
    }
    const alphabet = fc.constantFrom(...'ABCXYZabcxyz0189-_')
    fc.assert(
      fc.property(fc.nat(token.length - 1), alphabet, (at, letter) => {
        fc.pre(token[at] !== letter)
        assert.throws(() => parseInvite(token.slice(0, at) + letter + token.slice(at + 1)), InviteInvalidError)
      }),
      { numRuns: 500 }
    )
    for (const [other, why] of [
      ['hello', /a token begins with "arctic1\."/],
      ['arctic2.AAAA', /its format 2 is newer/],
      [`${token}A`, /cut short or was altered|bytes follow|signature/],
      ['arctic1.é', /characters that no token has/],
      [`arctic1.${'A'.repeat(9000)}`, /longer than any token/],
      [token.slice(0, -20), /it is cut short/]
    ] as const) {
      assert.throws(() => parseInvite(other), why)
    }
  })

  it('runs out by time and by use', () => {
    const read = parseInvite(token)
    checkInvite(read, 4999, ['x'])
    assert.throws(() => checkInvite(read, 5000, []), InviteExpiredError)
    assert.throws(() => checkInvite(read, 0, ['x', 'y']), InviteUsedError)
  })

  it('admits as often as it says, whoever redeems it, and a peer only once', async () => {
    const a = await bench.founder(1)
    const two = invite(a, 2)
    await a.admit({ token: two, peer: signer(11).peerId, name: 'p11' })
    await a.admit({ token: two, peer: signer(11).peerId, name: 'p11' })
    await a.admit({ token: two, peer: signer(12).peerId, name: 'p12' })
    await assert.rejects(a.admit({ token: two, peer: signer(13).peerId, name: 'p13' }), InviteUsedError)
    assert.equal(a.view().members.get(signer(12).peerId)?.name, 'p12')
  })

  it('is redeemed at any member, but not after its time, elsewhere, or under a taken name', async () => {
    const a = await bench.founder(1)
    const b = await bench.joiner(a, 2)
    await pull(a, b)
    await b.admit({ token: invite(a), peer: signer(3).peerId, name: 'three' })
    await assert.rejects(a.admit({ token: invite(a), peer: signer(4).peerId, name: 'peer-2' }), /NameTakenError/)
    await assert.rejects(a.admit({ token: invite(a), peer: 'edge', name: 'x' }), /must be a peer id/)
    const brief = invite(a, 1, 1000)
    await new Promise((resolve) => setTimeout(resolve, 1050))
    await assert.rejects(a.admit({ token: brief, peer: signer(5).peerId, name: 'five' }), InviteExpiredError)
    const other = await bench.founder(9)
    await assert.rejects(a.admit({ token: invite(other), peer: signer(6).peerId, name: 'six' }), /of another cluster/)
    const forged = createInvite(signer(8), {
      ...input,
      addresses: [],
      clusterId: a.clusterId() ?? '',
      expiresAt: Date.now() + 10_000
    })
    await assert.rejects(a.admit({ token: forged, peer: signer(8).peerId, name: 'x' }), /is not a member/)
  })

  it('lets a joiner in by the cluster it names only, and once', async () => {
    const a = await bench.founder(1)
    const other = await bench.founder(9)
    const joiner = await bench.open(await bench.dir(), signer(2))
    const mine = invite(a)
    await assert.rejects(joiner.adopt({ ...other.bootstrap(), token: mine }), /of another cluster/)
    await assert.rejects(joiner.adopt({ ...a.bootstrap(), token: mine }), /without this peer in it/)
    const { genesis, envelopes } = a.bootstrap()
    await assert.rejects(joiner.adopt({ genesis: genesis.subarray(1), envelopes, token: mine }), InviteInvalidError)
    assert.equal(joiner.clusterId(), null)
    await a.admit({ token: mine, peer: joiner.self, name: 'two' })
    await joiner.adopt({ ...a.bootstrap(), token: mine })
    assert.equal(joiner.clusterId(), a.clusterId())
    await assert.rejects(joiner.adopt({ ...a.bootstrap(), token: mine }), /AlreadyInClusterError/)
    await assert.rejects(joiner.init({ name: 'x', record: peerRecord(joiner.self, 'x') }), /AlreadyInClusterError/)
  })
})
