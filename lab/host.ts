import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { attempt, CommandFailedError, run, type CommandOptions, type CommandResult } from './command.ts'
import { pidsInside } from './leftovers.ts'
import { Task } from './task.ts'

/** A machine of the lab: a network namespace with a name, a directory and the programs that run in it. */
export class Host {
  readonly name: string
  /** The name under which `ip netns` knows it. */
  readonly namespace: string
  /** Its files: logs of what was spawned, and whatever the story puts there. */
  readonly directory: string
  #tasks = 0

  constructor(name: string, namespace: string, directory: string) {
    this.name = name
    this.namespace = namespace
    this.directory = directory
    mkdirSync(directory, { recursive: true })
  }

  /** Runs a command on the host and returns its stdout. Rejects with {@link CommandFailedError} on a non-zero exit. */
  exec(argv: readonly string[], options?: CommandOptions): Promise<string> {
    return run(this.#inside(argv), options)
  }

  /** Runs a command on the host; its exit code is part of the answer. */
  attempt(argv: readonly string[], options?: CommandOptions): Promise<CommandResult> {
    return attempt(this.#inside(argv), options)
  }

  /** Starts a program on the host. Its pid is the program's own; it is killed with the host at the latest. */
  spawn(argv: readonly string[], options: { env?: Record<string, string>; cwd?: string } = {}): Promise<Task> {
    const program = argv[0]?.split('/').pop() ?? 'task'
    const logPath = join(this.directory, `${program}-${++this.#tasks}`)
    return Task.spawn(this.#inside(argv), { ...options, logPath })
  }

  path(...names: string[]): string {
    return join(this.directory, ...names)
  }

  /** Several `ip` commands in one go, one per line, without the leading `ip`. */
  async ip(lines: readonly string[]): Promise<void> {
    const argv = ['ip', '-n', this.namespace, '-batch', '-']
    const result = await attempt(argv, { input: `${lines.join('\n')}\n` })
    if (result.code !== 0) throw new CommandFailedError(result)
  }

  /** Sets sysctls of this host, e.g. `{ 'net.ipv4.ip_forward': 1 }`. A device's dots are written as slashes. */
  async sysctl(values: Record<string, string | number>): Promise<void> {
    const script = Object.keys(values)
      .map(
        (name, i) => `printf %s "$${i + 1}" > /proc/sys/${name.split('.').join('/')} || { echo ${name} >&2; exit 1; }`
      )
      .join('\n')
    await this.exec(['sh', '-c', script, 'sh', ...Object.values(values).map(String)])
  }

  /** Addresses with prefix length, as `ip` shows them. */
  async addresses(): Promise<string[]> {
    const links = JSON.parse(await this.exec(['ip', '-j', 'addr'])) as Array<{
      addr_info: Array<{ local: string; prefixlen: number }>
    }>
    return links.flatMap((link) => link.addr_info.map(({ local, prefixlen }) => `${local}/${prefixlen}`))
  }

  pids(): number[] {
    return pidsInside(this.namespace)
  }

  #inside(argv: readonly string[]): string[] {
    return ['ip', 'netns', 'exec', this.namespace, ...argv]
  }
}
