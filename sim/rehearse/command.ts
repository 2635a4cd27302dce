import type { Client } from '../../src/api/cli/client.ts'
import { usageFailure } from '../../src/api/cli/failure.ts'
import { readMeshFile } from '../../src/api/cli/mesh-file.ts'
import type { MeshFile } from '../../src/api/declare/mesh-file.ts'
import { flowsListenedMax } from '../limits.ts'
import { readLive, readSaved, save, type LiveCluster } from './cluster.ts'
import { flowsOf, readFlows, type Recorded } from './flows.ts'
import { rehearse, type Rehearsal } from './rehearse.ts'

export interface RehearseFlags {
  file?: string | undefined
  from?: string | undefined
  'flow-log'?: string | undefined
  listen?: string | undefined
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
  if (flags.save != null) await save(flags.save, cluster)
  const recorded = await recordedFlows(flags, cluster, live ? await client() : null)
  return { rehearsal: await rehearse(cluster, mesh, recorded.flows, { prune }), skipped: recorded.skipped }
}

async function recordedFlows(
  { 'flow-log': file, listen }: RehearseFlags,
  cluster: LiveCluster,
  client: Client | null
): Promise<Recorded> {
  if (file != null) return readFlows(file, cluster)
  const seconds = Number(listen ?? Number.NaN)
  if (client == null || !(seconds > 0))
    throw usageFailure('say which flows: --flow-log FILE, or --listen SECONDS to a live agent', 'sim rehearse')
  const records: unknown[] = []
  const signal = AbortSignal.timeout(seconds * 1_000)
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
