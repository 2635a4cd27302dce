/**
 * What one change costs in memory for as long as the agent runs: `node bench/growth.ts [--changes 2000] [--write]`; about two
 * minutes. Two agents without data planes; the first one's heap is collected before each look at it.
 *
 * Buffers that are bounded (log lines, gossip, steps of actors) fill meanwhile, so the last of three stretches counts.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { askApi } from '../lab/api.ts'
import { until } from '../lab/wait.ts'
import { isoTime, systemClock } from '../src/clock.ts'
import type { ServiceJson } from '../src/actors/operator/operator.ts'
import { replaceSection } from './section.ts'

const ARCTIC = fileURLToPath(new URL('../bin/arctic', import.meta.url))
const RESULTS = fileURLToPath(new URL('RESULTS.md', import.meta.url))
const STRETCHES = 3
const AT_ONCE = 8

const { values } = parseArgs({
  options: { changes: { type: 'string', default: '2000' }, write: { type: 'boolean', default: false } }
})
const changes = Number(values.changes)

interface Memory {
  heapUsed: number
  external: number
}

/** An agent whose memory can be looked at through its inspector. */
class Watched {
  readonly socket: string
  readonly #child: ChildProcess
  #inspector: WebSocket | null = null
  #asked = 0

  constructor(directory: string, name: string) {
    this.socket = join(directory, `${name}.sock`)
    const flags = ['--name', name, '--dataplane', 'none', '--state-dir', join(directory, name), '--socket', this.socket]
    const listen = ['--mesh-listen', '/ip4/127.0.0.1/tcp/0', '--advertise', '127.0.0.1', '--api-listen', 'off']
    this.#child = spawn(ARCTIC, ['agent', ...flags, ...listen, '--log-level', 'warn'], {
      env: { ...process.env, NODE_OPTIONS: '--inspect=127.0.0.1:0' },
      stdio: ['ignore', 'ignore', 'pipe']
    })
  }

  async start(): Promise<void> {
    for await (const line of createInterface({ input: this.#child.stderr! })) {
      const url = /ws:\/\/\S+/.exec(line)?.[0]
      if (url == null) continue
      this.#inspector = new WebSocket(url)
      break
    }
    await once(this.#inspector!, 'open')
    this.#child.stderr!.resume()
    const up = async (): Promise<boolean> => (await this.ask('GET', '/v1/status').catch(() => null)) != null
    await until('the agent to be up', up, { timeoutMs: 60_000 })
  }

  async ask<T>(method: string, path: string, body?: unknown): Promise<T> {
    const answer = await askApi(this.socket, method, path, body)
    if (answer.status >= 300) throw new Error(`${method} ${path}: ${JSON.stringify(answer.body)}`)
    return answer.body as T
  }

  /** Bytes in use, after a collection. */
  async memory(): Promise<Memory> {
    await this.#call('HeapProfiler.collectGarbage', {})
    const expression = 'JSON.stringify(process.memoryUsage())'
    const { result } = await this.#call<{ result: { value: string } }>('Runtime.evaluate', { expression })
    return JSON.parse(result.value) as Memory
  }

  async stop(): Promise<void> {
    this.#inspector?.close()
    this.#child.kill('SIGTERM')
    if (this.#child.exitCode == null && this.#child.signalCode == null) await once(this.#child, 'exit')
  }

  #call<T>(method: string, params: object): Promise<T> {
    const id = ++this.#asked
    const inspector = this.#inspector!
    return new Promise((resolve) => {
      const hear = ({ data }: MessageEvent): void => {
        const answer = JSON.parse(String(data)) as { id?: number; result: T }
        if (answer.id !== id) return
        inspector.removeEventListener('message', hear)
        resolve(answer.result)
      }
      inspector.addEventListener('message', hear)
      inspector.send(JSON.stringify({ id, method, params }))
    })
  }
}

/** Bytes for each call of `change`, which makes `each` changes. */
async function cost(agent: Watched, change: (n: number) => Promise<unknown>, each: number): Promise<Memory> {
  let last: Memory = { heapUsed: Number.NaN, external: Number.NaN }
  let before = await agent.memory()
  const calls = changes / each
  for (let stretch = 0; stretch < STRETCHES; stretch++) {
    for (let n = 0; n < calls; n += AT_ONCE) {
      await Promise.all(Array.from({ length: AT_ONCE }, (_, i) => change(stretch * calls + n + i)))
    }
    const now = await agent.memory()
    const per = (field: keyof Memory): number => (now[field] - before[field]) / changes
    last = { heapUsed: per('heapUsed'), external: per('external') }
    process.stderr.write(`${last.heapUsed.toFixed(0)} B of heap and ${last.external.toFixed(0)} B beyond it a change\n`)
    before = now
  }
  return last
}

const directory = mkdtempSync(join(tmpdir(), 'arctic-growth-'))
const [a, b] = [new Watched(directory, 'a'), new Watched(directory, 'b')]
try {
  await Promise.all([a.start(), b.start()])
  await a.ask('POST', '/v1/cluster/init', { name: 'growth' })
  const { token } = await a.ask<{ token: string }>('POST', '/v1/cluster/invites', {})
  await b.ask('POST', '/v1/cluster/join', { token })
  const make = (name: string): Promise<ServiceJson> =>
    a.ask<ServiceJson>('POST', '/v1/services', { name, target_peer_id: 'b' })
  const { id } = await make('one')
  const updates = await cost(a, (n) => a.ask('PUT', `/v1/services/${id}`, { bandwidth_limit_mbps: 1 + (n % 999) }), 1)
  const comings = await cost(a, async (n) => a.ask('DELETE', `/v1/services/${(await make(`s${n}`)).id}`), 2)
  const row = (what: string, { heapUsed, external }: Memory): string =>
    `| ${what} | ${(heapUsed / 1000).toFixed(2)} | ${(external / 1000).toFixed(2)} |`
  const text = `## Memory of a change

Made by \`node bench/growth.ts --changes ${changes}\` on ${isoTime(systemClock.now()).slice(0, 10)}: what an agent keeps of each change for as
long as it runs, kB, after ${STRETCHES - 1} stretches of as many changes that filled what is bounded. Heap: the index of the
history. Beyond it: the document in Automerge.

| change | heap | beyond it |
| --- | ---: | ---: |
${row('one field of a service', updates)}
${row('a service made or deleted', comings)}
`
  process.stdout.write(text)
  if (values.write) replaceSection(RESULTS, 'growth', text)
} finally {
  await Promise.all([a.stop(), b.stop()])
  rmSync(directory, { recursive: true, force: true })
}
