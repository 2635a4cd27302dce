import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { PeerJson, RouteJson, ServiceJson, StatusJson } from '../src/actors/operator/operator.ts'
import { askApi } from './api.ts'
import type { CommandResult } from './command.ts'
import type { Host } from './host.ts'
import { readyTimeoutMs } from './limits.ts'
import type { Task } from './task.ts'
import { until } from './wait.ts'

/** The program as an operator has it in a checkout. */
export const ARCTIC = fileURLToPath(new URL('../bin/arctic', import.meta.url))

export interface PeerOptions {
  /** More flags for `arctic agent`. */
  flags?: readonly string[]
  env?: Record<string, string>
  /** A program, with its arguments, that starts the agent: it has to exec what follows. */
  starter?: (stateDir: string) => readonly string[]
  /** Under which the agent's directory and socket stand on the host; default `agent`. */
  directory?: string
}

/** A real agent on a host of the lab, and the operator in front of it. */
export class Peer {
  readonly host: Host
  readonly stateDir: string
  readonly socket: string
  readonly #options: PeerOptions
  #agent: Task | null = null

  constructor(host: Host, options: PeerOptions = {}) {
    this.host = host
    this.#options = options
    this.stateDir = host.path(options.directory ?? 'agent')
    this.socket = host.path(`${options.directory ?? 'agent'}.sock`)
  }

  get agent(): Task {
    if (this.#agent == null) throw new Error(`the agent on ${this.host.name} was never started`)
    return this.#agent
  }

  get id(): Promise<string> {
    return this.status().then(({ peer }) => peer.id)
  }

  /** Starts `arctic agent` and waits until it answers. Rejects with what it said when it ends instead. */
  async start(): Promise<this> {
    await this.launch()
    await until(
      `the agent on ${this.host.name} to answer`,
      async () => {
        if (!this.agent.running) return true
        return existsSync(this.socket) && (await askApi(this.socket, 'GET', '/healthz')).status === 200
      },
      { timeoutMs: readyTimeoutMs }
    )
    if (!this.agent.running) {
      throw new Error(`the agent on ${this.host.name} ended: ${this.agent.stderr.trim().slice(-2000)}`)
    }
    return this
  }

  /** Starts `arctic agent` and waits for nothing: for agents that shall fail. */
  async launch(): Promise<Task> {
    const flags = ['--state-dir', this.stateDir, '--socket', this.socket, '--name', this.host.name]
    const starter = this.#options.starter?.(this.stateDir) ?? []
    const argv = [...starter, ARCTIC, 'agent', ...flags, '--log-format', 'json', ...(this.#options.flags ?? [])]
    this.#agent = await this.host.spawn(argv, { env: this.#options.env })
    return this.#agent
  }

  /** Ends the agent by a signal and waits until it is gone. */
  async end(signal: 'SIGTERM' | 'SIGINT' | 'SIGUSR2' | 'SIGKILL'): Promise<number | null> {
    const { code } = await this.agent.stop({ signal, graceMs: 20_000 })
    return code
  }

  /** `arctic …` as typed on that host; its exit code is part of the answer. */
  cli(...args: string[]): Promise<CommandResult> {
    return this.host.attempt([ARCTIC, '--socket', this.socket, ...args])
  }

  /** `arctic -j …`, which has to succeed; its answer. */
  async ask<T = unknown>(...args: string[]): Promise<T> {
    const out = await this.host.exec([ARCTIC, '--socket', this.socket, '-j', ...args])
    return (out.trim() === '' ? null : JSON.parse(out)) as T
  }

  async status(): Promise<StatusJson> {
    return (await askApi(this.socket, 'GET', '/v1/status')).body as StatusJson
  }

  async service(id: string): Promise<ServiceJson | null> {
    const { status, body } = await askApi(this.socket, 'GET', `/v1/services/${id}`)
    return status === 200 ? (body as ServiceJson) : null
  }

  async peers(): Promise<PeerJson[]> {
    return (await askApi(this.socket, 'GET', '/v1/peers')).body as PeerJson[]
  }

  /** Makes a service and its routes by CLI on this peer. */
  async connect({
    source,
    target,
    routes,
    flags = []
  }: {
    source: string
    target: string
    routes: ReadonlyArray<readonly string[]>
    flags?: readonly string[]
  }): Promise<ServiceJson> {
    const service = await this.ask<ServiceJson>(
      'services',
      'create',
      '--source-peer',
      source,
      '--target-peer',
      target,
      ...flags
    )
    for (const route of routes) await this.ask<RouteJson>('routes', 'add', '--service', service.id, ...route)
    return service
  }

  /** Waits until this peer says that a service is in force on both of its ends. */
  active(id: string, timeoutMs = readyTimeoutMs): Promise<ServiceJson> {
    return this.phase(id, 'active', timeoutMs)
  }

  async phase(id: string, phase: ServiceJson['status']['phase'], timeoutMs = readyTimeoutMs): Promise<ServiceJson> {
    let seen: ServiceJson | null = null
    return await until(
      `service ${id} to be ${phase} on ${this.host.name}`,
      async () => {
        seen = await this.service(id)
        if (seen?.status.phase === phase) return seen
        throw new Error(JSON.stringify(seen?.status ?? 'no such service'))
      },
      { timeoutMs }
    )
  }

  /** Lines of this agent's log since it was last started. */
  log(): Array<Record<string, unknown>> {
    return this.agent.json('err')
  }

  /** The access line of a flow: the one log line that names its client's original address and port. */
  accessLines(client: string): Array<Record<string, unknown>> {
    return this.log().filter((line) => line['client'] === client)
  }
}

/** Makes one cluster of several agents: the first founds it and invites the others, admins as it is. */
export async function cluster(first: Peer, ...others: Peer[]): Promise<void> {
  await first.ask('cluster', 'init', '--name', 'lab')
  for (const peer of others) {
    await peer.ask('cluster', 'join', await invite(first))
  }
  const size = others.length + 1
  for (const peer of [first, ...others]) {
    await until(
      `${peer.host.name} to reach all of ${size}`,
      async () => (await peer.peers()).filter(({ reachable }) => reachable).length === size,
      { timeoutMs: readyTimeoutMs }
    )
  }
}

/** A token, exactly as `cluster invite` prints it. */
export async function invite(peer: Peer, ...flags: string[]): Promise<string> {
  return (await peer.host.exec([ARCTIC, '--socket', peer.socket, 'cluster', 'invite', ...flags])).trim()
}
