import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { encodeEpoch, FIRST } from '../../../src/crdt/authlog.ts'
import type { Disk } from '../../../src/crdt/disk.ts'
import type { Saver } from '../../../src/crdt/document-aside.ts'
import { parseEnvelope, sealEnvelope } from '../../../src/crdt/envelope.ts'
import type { Replica } from '../../../src/crdt/replica.ts'
import { digestOf, encodeSnapshot } from '../../../src/crdt/snapshot.ts'
import { Bench, invite, peerRecord, pull, serviceInput, signer } from '../support.ts'
import { plainSnapshot, type PlainSnapshot } from './plain-snapshot.ts'

/** Clusters of some history, who joins them by a snapshot, and who lies in one. */
export class Joins extends Bench {
  /** The peer of that number, which takes a snapshot of its own after 25 entries; an epoch is due after 20. */
  async peer(n: number, dir?: string, disk?: Disk, saver?: Saver): Promise<Replica> {
    return this.open(dir ?? (await this.dir()), signer(n), disk, 25, 20, saver)
  }

  /** Some history by two admins, one of whom is thrown out with something that others built on. */
  async lived(): Promise<{ a: Replica; b: Replica }> {
    const a = await this.peer(1)
    await a.init({ name: 'home', record: peerRecord(a.self, 'alpha') })
    const b = await this.joiner(a, 2)
    const c = await this.joiner(a, 3)
    for (const other of [b, c]) await pull(a, other)
    for (const other of [b, c]) await pull(other, a)
    for (let i = 0; i < 12; i++) {
      const { id } = await a.createService(serviceInput(a, b, { name: `s${i}` }))
      await b.receive([...a.missing(b.vector(), 1e6)].flat(), a.self)
      await b.addRoutes(id, [{ dest_cidr: `10.${i}.0.0/16` }])
      await pull(a, b)
      if (i % 4 === 0) await a.deleteService(id)
    }
    const { id } = await c.createService(serviceInput(a, c, { name: 'by c' }))
    await pull(b, c)
    await b.updateService(id, { name: 'by c and b' })
    await a.revoke(c.self)
    await pull(b, a)
    await pull(a, b)
    // Side by side.
    const [first = ''] = a.view().services.keys()
    await a.updateService(first, { name: 'by a beside b', bandwidth_limit_mbps: 3 })
    await b.updateService(first, { name: 'by b beside a' })
    await pull(b, a)
    await pull(a, b)
    await a.addRoutes(first, [{ dest_cidr: '10.99.0.0/16' }])
    // So that none is signed by itself while a test compares.
    await a.signEpoch()
    await pull(b, a)
    return { a, b }
  }

  /** A peer that has joined by a snapshot, and has nothing of the history behind it. */
  async joined(a: Replica, n: number, disk?: Disk, dir?: string, saver?: Saver): Promise<Replica> {
    const d = await this.peer(n, dir, disk, saver)
    const token = invite(a)
    await a.admit({ token, peer: d.self, name: `peer-${n}` })
    const handed = await a.bootstrapSnapshot()
    assert.ok(handed != null, 'there is no snapshot')
    assert.equal(await d.adoptSnapshot({ ...handed, token }), null)
    // What came after the snapshot comes as ever.
    await pull(d, a)
    return d
  }

  /** An admin that says what it likes. Returns a peer that is asked to believe it, and what came of that. */
  async hostile(
    lie: (snapshot: PlainSnapshot) => void,
    { role = 'admin', sign = true, saver }: { role?: 'admin' | 'member'; sign?: boolean; saver?: Saver } = {}
  ): Promise<{ a: Replica; d: Replica; liar: string; refused: string | null }> {
    const { a } = await this.lived()
    const liar = signer(7)
    const tokenOf = (given: 'admin' | 'member'): string =>
      a.createInvite({ ttlMs: 60_000, uses: 1, role: given, addresses: ['/ip4/127.0.0.1/tcp/7946'] })
    await a.admit({ token: tokenOf(role), peer: liar.peerId, name: 'liar' })
    await a.signEpoch()
    const snapshot = plainSnapshot(await readFile(join(this.dirOf(a), 'cluster', 'epoch')))
    lie(snapshot)
    const file = encodeSnapshot(snapshot)
    const epoch = {
      previous: FIRST,
      entries: snapshot.head.entries.length,
      bytes: file.length,
      digest: digestOf(file)
    }
    const body = encodeEpoch(epoch)
    const parts = { kind: 'auth', incarnation: 9, seq: 1, writtenAt: Date.now(), body } as const
    if (sign) await a.receive([sealEnvelope(liar, a.clusterId() ?? '', parts).bytes], liar.peerId)
    const token = tokenOf('admin')
    const d = await this.peer(4, undefined, undefined, saver)
    await a.admit({ token, peer: d.self, name: 'four' })
    const { genesis } = a.bootstrap()
    const outcome = await d.adoptSnapshot({ genesis, auth: a.authLog(), snapshot: file, token })
    if (outcome != null) {
      assert.equal(d.clusterId(), null)
      await d.adopt({ ...a.bootstrap(), token })
    } else await pull(d, a)
    return { a, d, liar: liar.peerId, refused: outcome?.refused ?? null }
  }
}

/** Hands over what is missing behind the snapshot, at most so many envelopes. */
export async function fill(to: Replica, from: Replica, count = Infinity): Promise<void> {
  const behind = to.behind()
  if (behind == null) return
  const missing = [...from.missing(behind.vector(), 1_000)].flat().slice(0, count)
  for (let i = 0; i < missing.length; i += 7) await to.receiveBehind(missing.slice(i, i + 7), from.self)
  if (count === Infinity) to.behindEnded(from.self)
}

/** Until what has been verified has taken its place. */
export async function whole(replica: Replica): Promise<void> {
  for (let i = 0; i < 400 && replica.behind() != null; i++) await new Promise((resolve) => setTimeout(resolve, 5))
  assert.equal(replica.behind(), null)
}

export async function closed(replica: Replica): Promise<Replica> {
  await replica.close()
  return replica
}

export async function until(check: () => boolean): Promise<void> {
  for (let i = 0; i < 400 && !check(); i++) await new Promise((resolve) => setTimeout(resolve, 5))
  assert.ok(check())
}

/** Until each has what the other has: an epoch that is signed by itself may come in between. */
export async function level(one: Replica, other: Replica): Promise<void> {
  const isMissing = (to: Replica, from: Replica): boolean => [...from.missing(to.vector(), 1e6)].length > 0
  do {
    await pull(one, other)
    await pull(other, one)
  } while (isMissing(one, other) || isMissing(other, one))
}

/** Another snapshot in place of the one that a peer, that of this number, has just signed: the file of it, which counts as well. */
export async function signedAnew(by: Replica, n: number, snapshot: PlainSnapshot): Promise<Uint8Array> {
  const file = encodeSnapshot(snapshot)
  const last = by
    .authLog()
    .map((bytes) => parseEnvelope(bytes))
    .findLast(({ authorId }) => authorId === by.self)
  assert.ok(last != null)
  const { length: entries } = snapshot.head.entries
  const body = encodeEpoch({ previous: last.hash, entries, bytes: file.length, digest: digestOf(file) })
  const { incarnation, seq } = last
  const parts = { kind: 'auth', incarnation, seq: seq + 1, writtenAt: Date.now(), body } as const
  await by.receive([sealEnvelope(signer(n), by.clusterId() ?? '', parts).bytes], by.self)
  return file
}
