import { readFile } from 'node:fs/promises'
import { isIP } from 'node:net'
import { usageFailure } from '../../src/api/cli/failure.ts'
import type { LiveCluster } from './cluster.ts'

/** A flow that somebody has seen: at which host it enters, from where to where. */
export interface Flow {
  /** Id of the peer. */
  peer: string
  source: string
  dest: string
  /** Id of the service that carried it; null when the record does not say. */
  service: string | null
}

export interface Recorded {
  flows: Flow[]
  /** Lines that hold no flow, or one of a peer that is not in the cluster. */
  skipped: number
}

/**
 * One JSON object per line: an agent's log (`"flow closed"` of either side), a `flow.closed` event, or by hand
 * `{"peer": NAME, "source": IP, "dest": IP}`. The two sides of one flow, and repetitions, count once.
 */
export async function readFlows(path: string, cluster: LiveCluster): Promise<Recorded> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    throw usageFailure(`${path} cannot be read: ${(error as Error).message}`, 'sim rehearse')
  }
  const records = text.split('\n').flatMap((line) => {
    if (line.trim() === '') return []
    try {
      return [JSON.parse(line) as unknown]
    } catch {
      return [null]
    }
  })
  return flowsOf(records, cluster)
}

export function flowsOf(records: readonly unknown[], { services, peers }: LiveCluster): Recorded {
  const sources = new Map(services.map(({ id, source_peer_id }) => [id, source_peer_id]))
  const idOf = new Map(
    peers.flatMap(({ id, name }) =>
      name == null
        ? [[id, id]]
        : [
            [id, id],
            [name, id]
          ]
    )
  )
  const flows = new Map<string, Flow>()
  let skipped = 0
  for (const record of records) {
    const flow = flowOf(record, sources, idOf)
    if (flow == null) {
      skipped++
      continue
    }
    const key = `${flow.peer} ${flow.source} ${flow.dest}`
    // Who says which service carried it knows more.
    if (flow.service != null || !flows.has(key)) flows.set(key, flow)
  }
  return { flows: [...flows.values()], skipped }
}

function flowOf(record: unknown, sources: Map<string, string>, idOf: Map<string, string>): Flow | null {
  if (typeof record !== 'object' || record == null) return null
  const outer = record as Record<string, unknown>
  const inner = (typeof outer['data'] === 'object' && outer['data'] != null ? outer['data'] : outer) as typeof outer
  const text = (...names: string[]): string | null => {
    const found = names.map((name) => inner[name]).find((value) => typeof value === 'string')
    return (found as string | undefined) ?? null
  }
  const service = text('service', 'serviceId', 'service_id')
  const source = hostOf(text('source', 'client'))
  const dest = hostOf(text('dest', 'destination'))
  // The target's side names the source's peer; the source's side names the other one, and the service its source.
  const named = text('peer')
  const entry = sources.get(service ?? '') ?? (inner['side'] === 'source' ? null : named)
  const peer = idOf.get(entry ?? '')
  return peer == null || source == null || dest == null ? null : { peer, source, dest, service }
}

/** `IP`, `IP:PORT` or `[IP]:PORT`. */
function hostOf(text: string | null): string | null {
  if (text == null) return null
  const host = isIP(text) > 0 ? text : text.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1')
  return isIP(host) > 0 ? host : null
}
