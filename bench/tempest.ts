import { createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { connect } from 'node:net'
import { fileURLToPath } from 'node:url'
import type { Host } from '../lab/host.ts'
import type { TwoSites } from '../lab/topology.ts'
import { until } from '../lab/wait.ts'
import { masquerade } from './wireguard.ts'

/**
 * Tempest without an agent: two engines, told by hand over their control sockets what an agent would tell them. In the
 * mesh TCP belongs to Pegasus, so this is the only way to see what Tempest does with TCP.
 */
const ENGINES = process.env['ARCTIC_ENGINES'] ?? fileURLToPath(new URL('../engines/target/release', import.meta.url))
const DEVICE = 'tempest0'
const PORT = 7977

/** Brings up a tunnel between the edges; what edge-a sends to `address` goes through it. Returns both processes. */
export async function tempestTunnel({ edgeA, edgeB }: TwoSites, address: string): Promise<number[]> {
  const [a, b] = [keys(), keys()]
  const pids = [
    await engine(edgeA, a.secret, { peer_id: 'b', public_key: b.public, endpoints: [`10.9.0.2:${PORT}`] }),
    await engine(edgeB, b.secret, { peer_id: 'a', public_key: a.public, endpoints: [`10.9.0.1:${PORT}`] })
  ]
  await edgeA.ip([`route add ${address}/32 dev ${DEVICE}`])
  await masquerade(edgeB, DEVICE, PORT % 100)
  return pids
}

async function engine(
  host: Host,
  secret: string,
  peer: { peer_id: string; public_key: string; endpoints: string[] }
): Promise<number> {
  await host.ip([`tuntap add dev ${DEVICE} mode tun vnet_hdr`, `link set ${DEVICE} mtu 1420 up`])
  const control = host.path('tempest.sock')
  const task = await host.spawn([`${ENGINES}/tempest`, '--control', control, '--log-level', 'warn'])
  const state = {
    data_listen: `0.0.0.0:${PORT}`,
    self: host.name,
    bypass_mark: 0,
    tunnels: [{ ...peer, device: DEVICE, mtu: 1420, keepalive_s: 25 }]
  }
  const apply = { type: 'apply', generation: 1, secrets: { private_key: secret }, state }
  await until(`tempest on ${host.name}`, () => tell(control, apply), { timeoutMs: 5000, everyMs: 50 })
  return task.pid
}

/** Sends one message and waits for `applied`; rejects when something of it is not in force. */
function tell(control: string, message: object): Promise<true> {
  return new Promise((resolve, reject) => {
    let heard = ''
    const socket = connect(control, () => socket.write(`${JSON.stringify(message)}\n`))
    socket.on('error', reject)
    socket.on('close', () => reject(new Error(`the engine hung up: ${heard}`)))
    socket.on('data', (chunk) => {
      heard += chunk.toString()
      const applied = heard
        .split('\n')
        .slice(0, -1)
        .map((line) => JSON.parse(line) as { type: string; errors?: unknown[] })
        .find(({ type }) => type === 'applied')
      if (applied == null) return
      if (applied.errors?.length === 0) resolve(true)
      else reject(new Error(JSON.stringify(applied)))
      socket.end()
    })
  })
}

function keys(): { secret: string; public: string } {
  const { privateKey } = generateKeyPairSync('x25519')
  const raw = (key: KeyObject, field: 'd' | 'x'): string =>
    Buffer.from(String(key.export({ format: 'jwk' })[field]), 'base64url').toString('base64')
  return { secret: raw(privateKey, 'd'), public: raw(createPublicKey(privateKey), 'x') }
}
