import { UnavailableError } from '../errors.ts'
import { inBatches } from './batches.ts'
import { copyOf, MalformedError } from './bytes.ts'
import { Cluster, type ClusterDeps } from './cluster.ts'
import { madeAside } from './document-aside.ts'
import { envelopeKindNumber, parseEnvelope } from './envelope.ts'
import type { Genesis } from './genesis.ts'
import type { Hollow } from './hollow.ts'
import { Intake } from './intake.ts'
import { Ledger, openEnvelope } from './ledger.ts'
import type { Entry } from './entries.ts'
import { restoreBatchMax } from './limits.ts'
import type { EnvelopeBytes } from './replicated.ts'
import { restoreEntries, type Snapshot } from './snapshot.ts'
import { checkForeign } from './told-foreign.ts'
import { SavedTold } from './told-saved.ts'

/** The ways in which a peer comes to a cluster that there is: from its own disk, or from what a member handed over. */

interface Stored {
  offset: number
  bytes: Uint8Array
}

/** Reads back what is stored, without verifying signatures: they were verified before it was stored. */
export function loadCluster(genesis: Genesis, stored: Stored[], deps: ClusterDeps): Cluster {
  const ledger = new Ledger(genesis, deps.storage.scratch)
  for (const { bytes } of stored) readBack(ledger, bytes)
  const cluster = new Cluster(ledger, deps)
  settle(cluster, ledger.entries.slice(0), offsetsOf(stored))
  return cluster
}

/**
 * Takes up what a snapshot of this cluster has of the first entries, and reads back those after it. `takenOver`: it
 * is another peer's; what has come of the history behind it. MalformedError when the snapshot is of another cluster,
 * or the rules have changed since.
 */
export function restoreCluster(
  genesis: Genesis,
  snapshot: Snapshot,
  stored: Stored[],
  deps: ClusterDeps,
  takenOver: { digest: string; behind: Stored[] } | null = null
): Cluster {
  if (snapshot.head.cluster !== genesis.clusterId) throw new MalformedError('it is of another cluster')
  const ledger = new Ledger(genesis, deps.storage.scratch)
  restoreEntries(ledger, snapshot.head)
  const cluster = upon(ledger, snapshot, deps, takenOver?.digest)
  cluster.snapshots.taken(cluster.ledger.entries.length)
  cluster.behind?.restore(takenOver?.behind ?? [])
  for (const batch of inBatches(stored, restoreBatchMax)) {
    const added = batch.map(({ bytes }) => readBack(cluster.ledger, bytes))
    // What is read of a change is gone once it is folded.
    cluster.fold.integrate(added)
    settle(cluster, added, offsetsOf(batch))
  }
  checkDocument(cluster, deps)
  return cluster
}

/** Verifies all of a cluster's history that a member handed over, then stores it, whole or not at all. */
export async function adoptCluster(genesis: Genesis, envelopes: EnvelopeBytes[], deps: ClusterDeps): Promise<Cluster> {
  const ledger = new Ledger(genesis, deps.storage.scratch)
  const intake = new Intake(ledger, deps.verifier, deps.reader)
  const added: Entry[] = []
  await intake.inBatches(envelopes, deps.clock, (batch) => {
    for (const bytes of batch) {
      const outcome = intake.take(bytes, added)
      if (typeof outcome !== 'object') continue
      const what = `the member there sent a broken history (${outcome.refused}); join by another member`
      throw new UnavailableError(what)
    }
  })
  const cluster = new Cluster(ledger, deps)
  if (!cluster.isMember()) {
    throw new UnavailableError('the member there sent a history without this peer in it; try again')
  }
  const offsets = await deps.storage.create(
    genesis.bytes,
    added.map((entry) => cluster.bytesOf(entry))
  )
  settle(cluster, added, offsets)
  return cluster
}

/** Goes on behind a snapshot that was taken over, whole or not at all. MalformedError when it cannot be used. */
export async function adoptHollowCluster(
  genesis: Genesis,
  file: Uint8Array,
  hollow: Hollow,
  deps: ClusterDeps
): Promise<Cluster> {
  const cluster = upon(hollow.ledger, hollow.snapshot, deps, hollow.digest)
  const auth = cluster.ledger.authEntries().map((entry) => cluster.bytesOf(entry))
  const added = hollow.tail.map((bytes) => readBack(cluster.ledger, bytes))
  cluster.fold.integrate(added)
  if (!cluster.isMember()) throw new MalformedError('this peer is no member by the auth log with it')
  // Of which nothing else tells, it is needed here anyway.
  if (deps.saver == null || hollow.snapshot.head.told == null) cluster.fold.load()
  const parts = { genesis: genesis.bytes, snapshot: file, behind: auth, envelopes: hollow.tail }
  const places = await deps.storage.createBehind(parts)
  cluster.behind?.restore(auth.map((bytes, i) => ({ bytes, offset: places.behind[i] as number })))
  settle(cluster, added, places.envelopes)
  checkDocument(cluster, deps)
  return cluster
}

/**
 * Has the document of a snapshot that was taken over read elsewhere, which shows whether it is what its heads name. Nobody waits for
 * it, since nothing that is shown needs it; if it is another one the snapshot is thrown away.
 */
function checkDocument(cluster: Cluster, { saver, log }: ClusterDeps): void {
  const { behind, fold } = cluster
  const unsaved = behind == null || saver == null ? null : fold.unsaved({ mayLackSome: false })
  if (behind == null || saver == null || unsaved == null) return
  const load = (): void => {
    if (cluster.behind === behind) fold.load()
  }
  madeAside(unsaved, { saver, load, log }).catch((error: unknown) => {
    behind.flaw ??= error instanceof Error ? error.message : String(error)
    cluster.judgeBehind()
  })
}

/** Of what a snapshot has, and nothing else. `ledger`: of its entries. `digest`: it is another peer's. */
function upon(ledger: Ledger, { head, document }: Snapshot, deps: ClusterDeps, digest?: string): Cluster {
  // What stays of them is shared by all who look at it.
  const records = [...head.records]
  const told = head.told == null ? null : new SavedTold({ ...head, records, told: head.told }, ledger.touches)
  const saved = {
    // A copy: it stays for long, and what it was read from is several times as large.
    document: { bytes: copyOf(document), heads: head.heads },
    records,
    told,
    owed: head.owed ?? [],
    tips: head.tips ?? null
  }
  const cluster = new Cluster(ledger, deps, saved, digest)
  if (told != null && digest != null) checkForeign(told, { records }, ledger)
  cluster.held.settleUpTo(ledger.entries.length)
  cluster.held.view = cluster.fold.view
  return cluster
}

/** All that memory holds is on disk, and is what is shown. */
function settle({ held }: Cluster, entries: readonly Entry[], offsets: readonly number[]): void {
  held.settle(entries, offsets)
  held.view = held.fold.view
}

const offsetsOf = (stored: ReadonlyArray<{ offset: number }>): number[] => stored.map(({ offset }) => offset)

function readBack(ledger: Ledger, bytes: Uint8Array): Entry {
  // An entry of the auth log keeps parts of its bytes, which must not keep all that was read with them.
  const own = bytes[1] === envelopeKindNumber('auth') ? copyOf(bytes) : bytes
  const item = openEnvelope(parseEnvelope(own), { own: true })
  if (ledger.waitsFor(item) != null) throw new UnavailableError('the log is not in order; restore it')
  return ledger.add(item)
}
