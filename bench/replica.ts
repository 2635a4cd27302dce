import type { Replica } from '../src/crdt/replica.ts'

/** A line of a table on the terminal: `ms`, and how many times the `reference` that is. */
export function row(name: string, ms: number, reference?: number): void {
  const ratio = reference == null ? '' : `${(ms / reference).toFixed(2)} ×`
  console.log(`${name.padEnd(44)} ${ms.toFixed(1).padStart(10)} ms  ${ratio}`)
}

/** What a peer without a data plane says of itself. */
export const record = (id: string): Parameters<Replica['putPeer']>[0] => ({
  id,
  name: 'bench',
  mesh_addresses: ['/ip4/127.0.0.1/tcp/7946'],
  data_addresses: ['127.0.0.1:7947'],
  pegasus_key: Buffer.alloc(32, 1).toString('base64'),
  tempest_key: Buffer.alloc(32, 2).toString('base64'),
  version: '0.1.0'
})
