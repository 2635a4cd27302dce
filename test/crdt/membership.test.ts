import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import * as fc from 'fast-check'
import { FIRST, type AuthOperation } from '../../src/crdt/authlog.ts'
import { actorOf } from '../../src/crdt/envelope.ts'
import type { Genesis } from '../../src/crdt/genesis.ts'
import type { Membership, Signed } from '../../src/crdt/membership.ts'
import { publicKeyOf } from '../../src/crdt/signer.ts'
import { SetDigest } from '../../src/crdt/set-digest.ts'
import { membersOf } from '../../src/crdt/validity.ts'
import { essenceOf } from './support/membership.ts'
import { signer } from './support.ts'

const PEERS = Array.from({ length: 12 }, (_, i) => signer(i + 1).peerId)
const FOUNDER = PEERS[0] as string
const genesis = { founder: FOUNDER, clusterId: 'this one', createdAt: 0 } as Genesis
const actor = (peer: string, incarnation: number): string =>
  actorOf('auth', publicKeyOf(peer) ?? new Uint8Array(32), incarnation)

/** What somebody may have signed: everything that has a form, whether or not it makes sense. */
interface Step {
  by: number
  about: number
  what: 'admit' | 'revoke' | 'role' | 'leave' | 'proof' | 'unknown'
  role: 'member' | 'admin'
  invite: number
  uses: number
  seen: number
  restarted: boolean
  stale: boolean
}

const step = fc.record<Step>({
  by: fc.oneof({ weight: 2, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(PEERS.length - 1) }),
  about: fc.nat(PEERS.length - 1),
  what: fc.oneof(
    { weight: 12, arbitrary: fc.constant('admit' as const) },
    { weight: 1, arbitrary: fc.constantFrom('revoke' as const, 'role', 'leave', 'proof', 'unknown') }
  ),
  role: fc.constantFrom('member', 'admin', 'admin'),
  invite: fc.nat(3),
  uses: fc.constantFrom(1, 2, 12, 12),
  seen: fc.nat(6),
  restarted: fc.boolean(),
  stale: fc.boolean()
})

/** The entries of a story in some order of arrival: an author's own stay in theirs, as the ledger keeps them. */
function tell(steps: readonly Step[]): Signed[] {
  const written = new Map<string, number>()
  const incarnations = PEERS.map(() => 1)
  const told: Signed[] = []
  for (const [i, { by, about, what, role, invite, uses, seen, restarted, stale }] of steps.entries()) {
    if (restarted && what !== 'admit') incarnations[by] = (incarnations[by] ?? 1) + 1
    const authorId = PEERS[by] as string
    const peer = PEERS[about] as string
    const name = actor(authorId, incarnations[by] ?? 1)
    const seq = (written.get(name) ?? 0) + 1
    written.set(name, seq)
    const hash = createHash('sha256').update(`entry ${i}`).digest('hex')
    const admissions = told.filter(({ entry }) => entry.operation === 'admit')
    const of = (subject: string): string[] =>
      admissions.flatMap(({ entry, envelope }) => (entry.peer === subject ? [envelope.hash] : []))
    const cut = new Map([[actor(peer, 1), seen]])
    const own = new Map([[name, seq - 1]])
    const operations: Record<Step['what'], AuthOperation> = {
      admit: {
        operation: 'admit',
        peer,
        role,
        name: `peer ${about}`,
        invite: {
          inviter: authorId,
          id: Uint8Array.of(invite),
          clusterId: stale && seen === 0 ? 'another' : 'this one',
          role: stale && seen === 1 ? 'member' : role,
          expiresAt: stale && seen === 2 ? 0 : 1_000_000,
          uses
        } as never
      },
      revoke: { operation: 'revoke', peer, cut },
      role: { operation: 'role', peer, role, replaces: stale ? FIRST : (of(peer)[0] ?? FIRST), cut },
      leave: { operation: 'leave', peer: authorId, ends: of(authorId), cut: own },
      proof: { operation: 'proof', peer, cut, envelopes: [new Uint8Array(), new Uint8Array()] },
      unknown: { operation: 'unknown', peer: authorId, number: 99 }
    }
    told.push({
      envelope: { authorId, actor: name, seq, writtenAt: i, hash },
      entry: { ...operations[what], previous: FIRST, via: null }
    })
  }
  return told
}

/** Whom and what one more entry makes of a membership, by what follows or by judging all. Counts what followed. */
function hear(heard: readonly Signed[], each: (now: Membership, anew: Membership) => void): number {
  let now = membersOf(genesis, [])
  let followed = 0
  for (const [i, signed] of heard.entries()) {
    const all = heard.slice(0, i + 1)
    const before = new Map([...now.peers()].map((peer) => [peer, now.digestOf(peer)]))
    const taken = now.take(signed)
    if (taken == null) now = membersOf(genesis, all)
    else {
      followed++
      const changed = [...now.peers()].filter((peer) => now.digestOf(peer) !== before.get(peer))
      assert.deepEqual([...taken], changed, 'it names whom it was about')
    }
    each(now, membersOf(genesis, all))
  }
  return followed
}

describe('crdt/membership', function () {
  this.timeout(60_000)

  it('with one more entry is what judging all of them comes to, whatever they are and in whatever order they come', () => {
    let followed = 0
    fc.assert(
      fc.property(
        fc.array(step, { minLength: 1, maxLength: 24 }),
        fc.infiniteStream(fc.nat(1_000_000)),
        (steps, dice) => {
          const waiting = tell(steps)
          const heard: Signed[] = []
          while (waiting.length > 0) {
            const at = (dice.next().value ?? 0) % waiting.length
            const author = waiting[at]?.envelope.authorId
            heard.push(
              ...waiting.splice(
                waiting.findIndex(({ envelope }) => envelope.authorId === author),
                1
              )
            )
          }
          followed += hear(heard, (now, anew) => {
            assert.deepEqual(essenceOf(now), essenceOf(anew))
            for (const { envelope } of heard) {
              const written = { ...envelope, needsAdmin: true }
              assert.equal(now.fault(written), anew.fault(written))
            }
          })
        }
      ),
      { numRuns: 2_000, seed: 17 }
    )
    assert.ok(followed > 3_000, `only ${followed} entries followed`)
  })

  it('lets nothing follow where a later entry may undo it', () => {
    const [a, b, c, d] = [0, 1, 2, 3]
    const base = { role: 'admin', invite: 0, uses: 4, seen: 6, restarted: false, stale: false } as const
    const admit = (by: number, about: number, more: Partial<Step> = {}): Step => ({
      ...base,
      by,
      about,
      what: 'admit',
      ...more
    })
    const lastFollows = (steps: Step[]): boolean => {
      const told = tell(steps)
      const last = told.pop() as Signed
      return membersOf(genesis, told).take(last) != null
    }
    assert.ok(lastFollows([admit(a, b), admit(b, c)]))
    assert.ok(!lastFollows([admit(a, b), { ...base, by: a, about: b, what: 'revoke' }, admit(b, c)]), 'of a revoked')
    assert.ok(!lastFollows([admit(a, b), admit(a, b), admit(b, c)]), 'of one who was let in twice')
    assert.ok(!lastFollows([admit(a, b), admit(a, c), admit(b, c)]), 'of one who is in')
    assert.ok(
      !lastFollows([{ ...base, by: a, about: c, what: 'revoke' }, admit(a, c)]),
      'of one who was revoked before'
    )
    assert.ok(!lastFollows([admit(a, b, { role: 'member' }), admit(b, c)]), 'by no admin')
    assert.ok(!lastFollows([admit(a, b, { uses: 1 }), admit(a, c, { uses: 1 })]), 'by an invite that is used up')
    assert.ok(!lastFollows([admit(a, b, { uses: 2 }), admit(a, c, { uses: 1 })]), 'by one that says two things')
    assert.ok(!lastFollows([admit(b, c), admit(a, d), admit(a, b)]), 'of one whose own entries wait')
  })

  it('has a digest of the set and of nothing else', () => {
    const hashes = Array.from({ length: 300 }, (_, i) => createHash('sha256').update(`${i}`).digest('hex'))
    const one = new SetDigest(hashes.slice(0, 100))
    for (const hash of hashes.slice(100).reverse()) {
      const before = one.value
      one.add(hash)
      assert.notEqual(one.value, before)
    }
    assert.equal(one.value, new SetDigest(hashes).value)
  })
})
