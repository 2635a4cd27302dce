import { Agent, request, type ClientRequest } from 'node:http'
import { text } from 'node:stream/consumers'
import { until } from '../../lab/wait.ts'
import { Programs } from './programs.ts'
import { members, precise, type System } from './system.ts'

const CLIENTS = 24_790
const PEERS = 24_890
const base64 = (value: string): string => Buffer.from(value).toString('base64')

interface WatchAnswer {
  result?: { created?: boolean; events?: Array<{ kv: { value: string } }> }
}

/** etcd of the distribution: write-ahead log with fsync, a majority for each write; a watch at every member. */
export class Etcd implements System {
  readonly name = 'etcd'
  readonly #programs = new Programs()
  readonly #watches: ClientRequest[] = []
  readonly #seen = new Map<number, number[]>()
  #agents: Agent[] = []

  async start(directory: string): Promise<void> {
    const all = Array.from({ length: members }, (_, i) => i)
    this.#agents = all.map(() => new Agent({ keepAlive: true }))
    const url = (port: number): string => `http://127.0.0.1:${port}`
    for (const i of all) {
      const flags = {
        name: `n${i}`,
        'data-dir': `${directory}/n${i}`,
        'listen-client-urls': url(CLIENTS + i),
        'advertise-client-urls': url(CLIENTS + i),
        'listen-peer-urls': url(PEERS + i),
        'initial-advertise-peer-urls': url(PEERS + i),
        'initial-cluster': all.map((n) => `n${n}=${url(PEERS + n)}`).join(','),
        'log-level': 'error'
      }
      this.#programs.run(
        'etcd',
        Object.entries(flags).flatMap(([name, value]) => [`--${name}`, value])
      )
    }
    for (const i of all) {
      await until(`etcd ${i}`, async () => (await this.#put(i, -1)).includes('revision'), { timeoutMs: 30_000 })
      await this.#watch(i)
    }
  }

  async write(by: number, n: number): Promise<number> {
    const begun = precise()
    await this.#put(by, n)
    return begun
  }

  async seen(): Promise<ReadonlyMap<number, readonly number[]>> {
    return this.#seen
  }

  async stop(): Promise<void> {
    for (const watch of this.#watches.splice(0)) watch.destroy()
    for (const agent of this.#agents) agent.destroy()
    await this.#programs.stop()
    this.#seen.clear()
  }

  #ask(i: number, path: string, agent?: Agent): ClientRequest {
    return request({ host: '127.0.0.1', port: CLIENTS + i, path, method: 'POST', ...(agent == null ? {} : { agent }) })
  }

  #put(i: number, n: number): Promise<string> {
    return new Promise((resolve, reject) => {
      const asked = this.#ask(i, '/v3/kv/put', this.#agents[i])
      asked.on('error', reject)
      asked.on('response', (response) => text(response).then(resolve, reject))
      asked.end(JSON.stringify({ key: base64(`k${Math.abs(n) % 50}`), value: base64(String(n)) }))
    })
  }

  #watch(i: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const watch = this.#ask(i, '/v3/watch')
      this.#watches.push(watch)
      watch.on('error', reject)
      watch.on('response', (response) => {
        let rest = ''
        response.setEncoding('utf8')
        response.on('error', () => {})
        response.on('data', (chunk: string) => {
          const at = precise()
          const lines = (rest + chunk).split('\n')
          rest = lines.pop() ?? ''
          for (const line of lines) {
            const { result } = JSON.parse(line) as WatchAnswer
            if (result?.created === true) resolve()
            for (const { kv } of result?.events ?? []) {
              const n = Number(Buffer.from(kv.value, 'base64').toString())
              this.#seen.set(n, [...(this.#seen.get(n) ?? []), at])
            }
          }
        })
      })
      watch.end(JSON.stringify({ create_request: { key: base64('k'), range_end: base64('l') } }))
    })
  }
}
