/**
 * What it costs Pegasus, the real engine, to bring states of many services into force: `node bench/apply.ts [--services 1000,10000]
 * [--changes 200]`.
 *
 * For each size: the whole state, then so many times one route that gets another destination, told as a change and, fewer times,
 * as the whole state. From the first byte sent to `applied`, and CPU of the engine and of this thread, which is what telling costs
 * the agent. Half of the services lead from this host to another, half to it, each with its own route.
 */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { systemClock } from '../src/clock.ts'
import { EngineClient } from '../src/dataplane/engine-client.ts'
import { engineState } from '../src/dataplane/engine-state.ts'
import { pegasusChange } from '../src/dataplane/pegasus-change.ts'
import type { PegasusState } from '../src/dataplane/pegasus.ts'
import { Lab } from '../lab/lab.ts'
import { ensurePrivilege } from '../lab/privileges.ts'
import { until } from '../lab/wait.ts'
import { median } from './rounds.ts'

const PEGASUS = fileURLToPath(new URL('../engines/target/release/pegasus', import.meta.url))
const KEY = Buffer.alloc(32, 1).toString('base64')
/** Whole states are told fewer times. */
const WHOLE_PART = 10

function stateOf(services: number): PegasusState {
  const ids = Array.from({ length: services / 2 }, (_, n) => `01J${String(n).padStart(23, '0')}`)
  const dest = (n: number): string => `10.${100 + (n >> 8)}.${n & 255}.0/24`
  const service = { peer_id: 'b', transport: 'tcp', transparent: false, bandwidth_mbps: 0 } as const
  const routes = ids.map((service_id, n) => ({ service_id, route_id: `r${n}`, source: null, dest: dest(n) }))
  return {
    data_listen: '127.0.0.1:7947',
    self: 'a',
    bypass_mark: 1,
    peers: [{ peer_id: 'b', public_key: KEY, addresses: ['127.0.0.2:7947'] }],
    listeners: [{ name: 'general', port: 0, table: { attached: [], routes } }],
    outbound: ids.map((service_id) => ({ ...service, service_id })),
    inbound: ids.map((id, n) => ({ ...service, service_id: `${id}i`, routes: [{ source: null, dest: dest(n) }] }))
  }
}

/** With another destination of one route, at the source and at the target. */
function changed(state: PegasusState, n: number): PegasusState {
  const dest = `172.${16 + ((n >> 8) & 15)}.${n & 255}.0/24`
  const [listener] = state.listeners
  if (listener == null || !('table' in listener)) throw new Error('the table is missing')
  const at = (n * 37) % state.inbound.length
  const { routes } = listener.table
  const table = { ...listener.table, routes: routes.with(at, { ...routes[at]!, dest }) }
  const inbound = state.inbound.with(at, { ...state.inbound[at]!, routes: [{ source: null, dest }] })
  return { ...state, listeners: [{ ...listener, table }], inbound }
}

/** CPU of a process so far, ms; by ticks of 10 ms. */
function cpuOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  return (Number(fields[11]) + Number(fields[12])) * 10
}

/** CPU of this thread so far, ms. */
function cpu(): number {
  const { user, system } = process.threadCpuUsage()
  return (user + system) / 1000
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { services: { type: 'string', default: '1000,10000' }, changes: { type: 'string', default: '200' } }
  })
  const out = (text: string): void => void process.stdout.write(`${text}\n`)
  ensurePrivilege()
  const lab = await Lab.create({ prefix: 'arctic-apply' })
  try {
    const host = await lab.host('a')
    const path = host.path('pegasus.sock')
    out('| services | told | ms, median | engine, CPU ms | agent, CPU ms |\n| ---: | --- | ---: | ---: | ---: |')
    for (const services of values.services.split(',').map(Number)) {
      const task = await host.spawn([PEGASUS, '--control', path, '--log-level', 'warn'])
      const client = await until('pegasus', () => EngineClient.connect(path, systemClock).catch(() => null), {
        timeoutMs: 5000
      })
      let [state, generation] = [stateOf(services), 0]
      /** Tells `count` states, each made of the one before. */
      const told = async (name: string, count: number, byChanges: boolean): Promise<void> => {
        const times: number[] = []
        const before = [cpuOf(client.hello.pid), cpu()] as const
        for (let n = 0; n < count; n++) {
          if (generation > 0) state = changed(state, generation)
          const made = byChanges ? engineState(state, pegasusChange) : engineState(state)
          const message = { generation: ++generation, privateKey: KEY, privateKeyBefore: null, state: made }
          const began = systemClock.monotonic()
          const { errors } = await client.apply(message)
          times.push(systemClock.monotonic() - began)
          if (errors.length > 0) throw new Error(JSON.stringify(errors[0]))
        }
        const each = (spent: number): string => (spent / count).toFixed(2)
        const [engine, agent] = [cpuOf(client.hello.pid) - before[0], cpu() - before[1]]
        out(`| ${services} | ${name} | ${median(times).toFixed(2)} | ${each(engine)} | ${each(agent)} |`)
      }
      await told('all new', 1, true)
      await told('a change', Number(values.changes), true)
      await told('the whole, of which one route is another', Math.ceil(Number(values.changes) / WHOLE_PART), false)
      client.close()
      await task.stop()
    }
  } finally {
    lab.close()
  }
}

await main()
