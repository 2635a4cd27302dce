import assert from 'node:assert/strict'
import * as fc from 'fast-check'
import { parseEnvelope } from '../../src/crdt/envelope.ts'
import type { Membership } from '../../src/crdt/membership.ts'
import type { Replica } from '../../src/crdt/replica.ts'
import { membersOf } from '../../src/crdt/validity.ts'
import type { View } from '../../src/crdt/view.ts'
import { memoryDisk } from './support/memory-disk.ts'
import { essenceOf, judgedAnew } from './support/membership.ts'
import { Bench, invite, Observer, peerRecord, pull, serviceInput, signer } from './support.ts'

/** Everything that some peers signed while they heard of each other by chance, and orders to hear it in. */
interface Story {
  genesis: Uint8Array
  envelopes: Uint8Array[]
  orders: Uint8Array[][]
}

const STORIES = 200

/** The rule that comes to mind first: what a peer writes counts unless it arrives after its revocation was seen. */
const arrivalRule: typeof membersOf = (genesis, entries) => {
  const judged = membersOf(genesis, entries)
  return {
    ...judgedAnew(judged),
    fault: ({ authorId }) => (judged.standing(authorId).admissions[0] == null ? 'unknown' : null)
  }
}

describe('crdt/authority stories', function () {
  this.timeout(600_000)
  const bench = new Bench()
  const stories: Story[] = []
  after(() => bench.clean())

  /** Three admins that revoke, demote, promote and invite, partitioned all the while; a fourth that two let in at once. */
  async function tell(dice: (sides: number) => number): Promise<Story> {
    const pick = <T>(list: readonly T[]): T => list[dice(list.length)] as T
    const open = (n: number): Promise<Replica> => bench.open(`/memory/${n}`, signer(n), memoryDisk())
    const a = await open(1)
    await a.init({ name: 'stories', record: peerRecord(a.self, 'peer-1') })
    const { genesis } = a.bootstrap()
    const replicas = [a]
    for (const n of [2, 3]) {
      const joiner = await open(n)
      const by = replicas[dice(replicas.length)] as Replica
      const token = invite(by)
      await by.admit({ token, peer: joiner.self, name: `peer-${n}` })
      await joiner.adopt({ ...by.bootstrap(), token })
      await joiner.putPeer(peerRecord(joiner.self, `peer-${n}`))
      for (const other of replicas) await pull(other, joiner)
      replicas.push(joiner)
    }
    const once = invite(a)
    for (let step = 0; step < 12; step++) {
      const [by, other] = [pick(replicas), pick(replicas)]
      const services = [...by.view().services.keys()]
      const what = dice(10)
      const act = async (): Promise<unknown> => {
        if (what === 0) return by.revoke(other.self)
        if (what === 1) return by.setRole(other.self, pick(['member', 'admin'] as const))
        if (what === 2) return by.admit({ token: once, peer: signer(10 + dice(2)).peerId, name: `late-${step}` })
        if (what === 3) return dice(3) === 0 ? by.leave() : by.renamePeer(other.self, `n${dice(1000)}`)
        if (what < 7 || services.length === 0) return by.createService(serviceInput(a, other, { name: `s${step}` }))
        return what === 7 ? by.deleteService(pick(services)) : by.updateService(pick(services), { name: `n${step}` })
      }
      // What is not allowed, or makes no sense, is refused where it is asked for.
      await act().catch((error: unknown) => assert.ok(error instanceof Error && 'code' in error, String(error)))
      if (dice(3) === 0) await pull(other, by)
    }
    const held = new Map<string, Uint8Array>()
    for (const replica of replicas) {
      const from = [...replica.missing({}, Infinity)].flat()
      for (const bytes of from) held.set(parseEnvelope(bytes).hash, bytes)
    }
    await bench.clean()
    const envelopes = [...held.values()]
    const shuffle = (): Uint8Array[] => {
      const list = [...envelopes]
      for (let i = list.length - 1; i > 0; i--) {
        const j = dice(i + 1)
        ;[list[i], list[j]] = [list[j] as Uint8Array, list[i] as Uint8Array]
      }
      return list
    }
    return { genesis, envelopes, orders: [shuffle(), shuffle()] }
  }

  before(async () => {
    for (let seed = 1; seed <= STORIES; seed++) {
      const [numbers] = fc.sample(fc.infiniteStream(fc.nat(1_000_000)), { numRuns: 1, seed })
      stories.push(await tell((sides) => (numbers?.next().value ?? 0) % sides))
    }
  })

  it(`${STORIES} of them: whatever the order of arrival, the same members, roles, heads and records`, () => {
    const seen = new Set<string>()
    for (const [i, { genesis, envelopes, orders }] of stories.entries()) {
      const [first, ...others] = orders.map((order) => watch(new Observer(genesis), order))
      const whole = new Observer(genesis)
      whole.take(envelopes)
      for (const other of [...others, whole.view]) {
        assert.deepEqual(essence(other), essence(first as View), `story ${i + 1}`)
      }
      for (const { how } of whole.view.departed?.values() ?? []) seen.add(how)
      for (const { reason } of whole.view.rejected) seen.add(reason.replaceAll(/12D3\w+/g, 'peer'))
    }
    // The stories are worth something only if they came to what they are about.
    for (const outcome of [
      'revoked',
      'left',
      'its author was revoked before it',
      'it builds on a change that is not'
    ]) {
      assert.ok(
        [...seen].some((text) => text.includes(outcome)),
        `no story came to: ${outcome}`
      )
    }
    const prevailed = /a more senior admin, peer, did the opposite/
    assert.ok(
      [...seen].some((text) => prevailed.test(text)),
      'no two revoked each other'
    )
    assert.ok(
      [...seen].some((text) => text.includes('its invite was used up')),
      'no invite was redeemed twice'
    )
  })

  it('the same stories: what follows from the members before is what judging all anew comes to', () => {
    let followed = 0
    for (const [i, { genesis, orders }] of stories.entries()) {
      for (const order of orders.slice(0, 1)) {
        const one = new Observer(genesis, (...all) => {
          const judged = membersOf(...all)
          const take: Membership['take'] = (signed) => {
            const taken = judged.take(signed)
            if (taken?.length === 1) followed++
            return taken
          }
          return { ...judgedAnew(judged), take }
        })
        const other = new Observer(genesis, (...all) => judgedAnew(membersOf(...all)))
        for (const bytes of order) {
          one.take([bytes])
          other.take([bytes])
          assert.deepEqual(one.view.heads, other.view.heads, `story ${i + 1}`)
        }
        assert.deepEqual(essence(one.view), essence(other.view), `story ${i + 1}`)
        assert.deepEqual(essenceOf(one.membership), essenceOf(other.membership), `story ${i + 1}`)
      }
    }
    assert.ok(followed > STORIES, `only ${followed} entries were taken in without judging all anew`)
  })

  it('the same stories tell the rule of arrival from this one: by it peers end up apart', () => {
    const apart = stories.filter(({ genesis, orders }) => {
      const views = orders.map((order) => watch(new Observer(genesis, arrivalRule), order, { refusesRevoked: true }))
      return views.some((view) => JSON.stringify(essence(view)) !== JSON.stringify(essence(views[0] as View)))
    })
    assert.ok(apart.length >= STORIES / 10, `only ${apart.length} of ${STORIES} stories told the rules apart`)
  })
})

/** Takes all of it, one by one. */
function watch(observer: Observer, order: Uint8Array[], { refusesRevoked = false } = {}): View {
  for (const bytes of order) {
    const { authorId } = parseEnvelope(bytes)
    if (refusesRevoked && observer.view.departed?.has(authorId) === true) continue
    observer.take([bytes])
  }
  return observer.view
}

const essence = ({ members, departed, services, routes, heads, rejected }: View): unknown => ({
  members: [...members].sort(([a], [b]) => (a < b ? -1 : 1)),
  departed: [...(departed ?? [])].sort(([a], [b]) => (a < b ? -1 : 1)),
  services: [...services],
  routes: [...routes],
  heads,
  rejected: rejected.map(({ hash }) => hash).sort()
})
