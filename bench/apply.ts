/**
 * How long Pegasus takes to bring a state of many services into force: `node bench/apply.ts [SERVICES] [ROUNDS]`.
 *
 * The whole state first, then once more with one service changed, as after every change of an operator; from the first
 * byte sent to `applied`. Half of the services lead from this host to another, half to it, each with its own route.
 */
import { fileURLToPath } from 'node:url'
import { systemClock } from '../src/clock.ts'
import { EngineClient } from '../src/dataplane/engine-client.ts'
import { stateText } from '../src/dataplane/state-text.ts'
import type { PegasusState } from '../src/dataplane/pegasus.ts'
import { Lab } from '../lab/lab.ts'
import { ensurePrivilege } from '../lab/privileges.ts'
import { until } from '../lab/wait.ts'
import { median } from './rounds.ts'

const PEGASUS = fileURLToPath(new URL('../engines/target/release/pegasus', import.meta.url))
const KEY = Buffer.alloc(32, 1).toString('base64')

function stateOf(services: number, changed: number): PegasusState {
  const ids = Array.from({ length: services / 2 }, (_, n) => `01J${String(n).padStart(23, '0')}`)
  const dest = (n: number): string => `10.${100 + (n >> 8)}.${n & 255}.0/24`
  const service = { peer_id: 'b', transport: 'tcp', transparent: false } as const
  const limit = (n: number): number => (n === 0 ? changed : 0)
  const routes = ids.map((service_id, n) => ({ service_id, route_id: `r${n}`, source: null, dest: dest(n) }))
  return {
    data_listen: '127.0.0.1:7947',
    self: 'a',
    bypass_mark: 1,
    peers: [{ peer_id: 'b', public_key: KEY, addresses: ['127.0.0.2:7947'] }],
    listeners: [{ name: 'general', port: 0, table: { attached: [], routes } }],
    outbound: ids.map((service_id, n) => ({ ...service, service_id, bandwidth_mbps: limit(n) })),
    inbound: ids.map((id, n) => ({
      ...service,
      service_id: `${id}i`,
      bandwidth_mbps: 0,
      routes: [{ source: null, dest: dest(n) }]
    }))
  }
}

async function main(): Promise<void> {
  const [services, rounds] = [Number(process.argv[2] ?? 10_000), Number(process.argv[3] ?? 5)]
  ensurePrivilege()
  const lab = await Lab.create({ prefix: 'arctic-apply' })
  try {
    const host = await lab.host('a')
    const path = host.path('pegasus.sock')
    const times = { whole: [] as number[], one: [] as number[] }
    for (let round = 0; round < rounds; round++) {
      const task = await host.spawn([PEGASUS, '--control', path, '--log-level', 'warn'])
      const client = await until('pegasus', () => EngineClient.connect(path, systemClock).catch(() => null), {
        timeoutMs: 5000
      })
      for (const [generation, kind] of [
        [1, 'whole'],
        [2, 'one']
      ] as const) {
        const state = stateText(stateOf(services, generation), '')
        const message = { generation, privateKey: KEY, privateKeyBefore: null, state }
        const began = systemClock.monotonic()
        const { errors } = await client.apply(message)
        times[kind].push(systemClock.monotonic() - began)
        if (errors.length > 0) throw new Error(JSON.stringify(errors[0]))
      }
      client.close()
      await task.stop()
    }
    process.stdout.write(
      `${services} services, ${rounds} rounds, medians: all of them new ${median(times.whole).toFixed(0)} ms, ` +
        `one changed ${median(times.one).toFixed(0)} ms\n`
    )
  } finally {
    lab.close()
  }
}

await main()
