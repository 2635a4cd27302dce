import assert from 'node:assert/strict'
import { readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { UnavailableError } from '../../../src/errors.ts'
import { Bench, invite, peerRecord, signer, state } from '../support.ts'

/** The story of a disk that fills up and is freed again, told on a small file system mounted at `dir`. */
const dir = process.argv[2] ?? ''
const bench = new Bench()
const a = await bench.open(dir, signer(1))
await a.init({ name: 'home', record: peerRecord(a.self, 'alpha') })
await a.admit({ token: invite(a), peer: signer(2).peerId, name: 'beta' })
const service = await a.createService({ source_peer_id: a.self, target_peer_id: signer(2).peerId })
const before = state(a)
const seen: unknown[] = []
a.onView((view) => seen.push(view))
a.onLocal((bytes) => seen.push(bytes))

const ballast = join(dir, 'ballast')
await assert.rejects(writeFile(ballast, new Uint8Array(64 * 1024 * 1024)), /ENOSPC/)
for (let round = 0; round < 3; round++) {
  const outcomes = await Promise.allSettled(
    Array.from({ length: 40 }, (_, i) =>
      a.addRoutes(
        service.id,
        Array.from({ length: 20 }, () => ({ dest_cidr: `10.${i}.0.0/16` }))
      )
    )
  )
  const refused = outcomes.filter((outcome) => outcome.status === 'rejected')
  assert.ok(refused.length > 0, 'the disk took it all')
  for (const { reason } of refused) {
    assert.ok(reason instanceof UnavailableError, String(reason))
    assert.match(reason.message, /the disk is full; free some space/)
  }
}
// What was acknowledged is there and nothing else; a page that was begun may have had room for a change or two.
const routes = a.view().routes.size
assert.equal(seen.length % 2, 0)
if (seen.length === 0) assert.deepEqual({ ...(state(a) as object) }, before)

// An agent that starts on the full disk, after one that was killed there, knows all and goes on by itself.
await rm(ballast)
const held = state(a)
const last = a.vector()
await a.close()
const dead = { pid: 1, start: 'long ago', boot: 'another', token: 'ab' }
await writeFile(join(dir, 'cluster', 'lock'), JSON.stringify(dead))
await assert.rejects(writeFile(ballast, new Uint8Array(64 * 1024 * 1024)), /ENOSPC/)
let started = await bench.open(dir, signer(1))
assert.deepEqual(state(started), held)
assert.deepEqual(started.vector(), last)
await assert.rejects(bench.open(dir, signer(1)), /another agent \(pid \d+\) uses this state directory/)
await started.close()
// And once more, from where that one has left the lock.
started = await bench.open(dir, signer(1))
await assert.rejects(
  started.addRoutes(
    service.id,
    Array.from({ length: 1_000 }, () => ({ dest_cidr: '10.0.0.0/16' }))
  ),
  UnavailableError
)
assert.deepEqual(await readdir(join(dir, 'cluster')), ['incarnation', 'lock', 'log'])

await rm(ballast)
// All of these ask the disk first, at the same time.
const peers = { source_peer_id: a.self, target_peer_id: signer(2).peerId }
await Promise.all(Array.from({ length: 20 }, () => started.createService(peers)))
await started.updateService(service.id, { name: 'after' })
const after = state(started)
await started.close()
const again = await bench.open(dir, signer(1))
assert.deepEqual(state(again), after)
assert.equal(again.view().routes.size, routes)
assert.equal(again.view().services.get(service.id)?.name, 'after')
assert.equal(again.damage(), null)
await bench.clean()
