import type { Client } from '../../src/api/cli/client.ts'
import { usageFailure } from '../../src/api/cli/failure.ts'
import { readMeshFile } from '../../src/api/cli/mesh-file.ts'
import type { MeshFile } from '../../src/api/declare/mesh-file.ts'
import { flowsListenedMax, listenSecondsMax } from '../limits.ts'
import { readLive, readRecords, readSaved, save, type LiveCluster } from './cluster.ts'
import { flowsOf, readFlows, type Recorded } from './flows.ts'
import { rehearse, type Rehearsal } from './rehearse.ts'

export interface RehearseFlags {
  file?: string | undefined
  from?: string | undefined
  flowLog?: string | undefined
  /** Seconds. */
  listen?: number | undefined
  save?: string | undefined
  prune?: boolean | undefined
}

/** `client` is asked for only where the live cluster is. */
export async function runRehearsal(
  flags: RehearseFlags,
  client: () => Promise<Client>
): Promise<{ rehearsal: Rehearsal; skipped: number }> {
  const { from = 'live', prune = false } = flags
  if (flags.file == null) throw usageFailure('--file FILE is missing: what would be applied', 'sim rehearse')
  const mesh = (await readMeshFile(flags.file, readInput)) as MeshFile
  const live = from === 'live'
  const cluster = live ? await readLive(await client()) : await readSaved(from)
  if (live && flags.flowLog == null && flags.listen == null)
    Object.assign(cluster, await readRecords(await client(), cluster))
  if (flags.save != null) await save(flags.save, cluster)
  const recorded = await recordedFlows(flags, cluster, live ? await client() : null)
  return { rehearsal: await rehearse(cluster, mesh, recorded.flows, { prune }), skipped: recorded.skipped }
}

async function recordedFlows(
  { flowLog, listen }: RehearseFlags,
  cluster: LiveCluster,
  client: Client | null
): Promise<Recorded> {
  if (flowLog != null) return readFlows(flowLog, cluster)
  if (listen == null) {
    if (cluster.records != null) return flowsOf(cluster.records, cluster)
    throw usageFailure('this cluster was kept without its flows; say which: --flow-log FILE', 'sim rehearse')
  }
  if (client == null) throw usageFailure('--listen is for a live agent, and --from names a file', 'sim rehearse')
  if (!(listen > 0 && listen <= listenSecondsMax))
    throw usageFailure(`--listen takes 1 to ${listenSecondsMax} seconds`, 'sim rehearse')
  const records: unknown[] = []
  const signal = AbortSignal.timeout(listen * 1_000)
  try {
    for await (const { type, data } of client.events('flow.closed', { signal })) {
      if (type === 'flow.closed') records.push(data)
      if (records.length >= flowsListenedMax) break
    }
  } catch (error) {
    if (!signal.aborted) throw error
  }
  return flowsOf(records, cluster)
}

async function readInput(): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}
