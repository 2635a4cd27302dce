import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { cluster, startHost, type Host } from './host.ts'

/**
 * A host in a process of its own, so that it can be killed and stalled like a real one. Commands and answers go over the
 * fork's channel, one at a time.
 */
type Command =
  | { run: 'init' }
  | { run: 'invite' }
  | { run: 'join'; token: string }
  | { run: 'write'; target: string }
  | { run: 'seen' }
  | { run: 'usage' }
  | { run: 'stop' }

export interface Usage {
  rssBytes: number
  cpuMicroseconds: number
}

export class HostProcess {
  readonly child: ChildProcess
  id = ''

  constructor(child: ChildProcess) {
    this.child = child
  }

  static async start(root: string, name: string, listen = '/ip4/127.0.0.1/tcp/0'): Promise<HostProcess> {
    const host = new HostProcess(fork(fileURLToPath(import.meta.url), [root, name, listen]))
    const [{ id }] = (await once(host.child, 'message', { signal: AbortSignal.timeout(60_000) })) as [{ id: string }]
    host.id = id
    return host
  }

  async ask<T>(command: Command): Promise<T> {
    const answered = once(this.child, 'message', { signal: AbortSignal.timeout(60_000) })
    this.child.send(command)
    const [answer] = (await answered) as [{ value?: T; error?: string }]
    if (answer.error != null) throw new Error(answer.error)
    return answer.value as T
  }

  /** Ends it without a word. */
  async kill(): Promise<void> {
    if (this.child.exitCode != null || this.child.signalCode != null) return
    const exited = once(this.child, 'exit')
    this.child.kill('SIGKILL')
    await exited
  }
}

async function main([root, name, listen]: string[]): Promise<void> {
  const host = await startHost(root!, name!, { listen: listen! })
  /** Wall-clock ms at which each service was in the view here; processes of one machine share the clock. */
  const seen: Record<string, number> = {}
  host.replica.onView((view, previous) => {
    for (const id of view.services.keys()) if (!previous.services.has(id)) seen[id] = precise()
  })
  process.on('message', (command: Command) => {
    answer(host, command, seen).then(
      (value) => process.send!({ value }, () => command.run === 'stop' && process.disconnect()),
      (error: Error) => process.send!({ error: error.message })
    )
  })
  process.send!({ id: host.id })
}

async function answer(host: Host, command: Command, seen: Record<string, number>): Promise<unknown> {
  switch (command.run) {
    case 'init':
      return cluster([host])
    case 'invite':
      return host.mesh.invite({ ttlMs: 60_000, uses: 100, role: 'admin' })
    case 'join':
      return host.mesh.join(command.token, { signal: AbortSignal.timeout(60_000) })
    case 'write': {
      const begun = precise()
      const { id } = await host.replica.createService({ source_peer_id: host.id, target_peer_id: command.target })
      return { id, begun }
    }
    case 'seen':
      return seen
    case 'usage': {
      const { user, system } = process.cpuUsage()
      return { rssBytes: process.memoryUsage().rss, cpuMicroseconds: user + system } satisfies Usage
    }
    case 'stop':
      await host.stop()
      return process.getActiveResourcesInfo()
  }
}

const precise = (): number => performance.timeOrigin + performance.now()

if (process.argv[1] === fileURLToPath(import.meta.url)) await main(process.argv.slice(2))
