import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type {
  AppliedService,
  DataplaneEvent,
  DesiredState,
  EngineStatus,
  ServiceCounters
} from '../../../src/dataplane/desired.ts'

const here = dirname(fileURLToPath(import.meta.url))

/** Why kernel tests cannot run here, or null. In CI that is a failure, elsewhere a skip. */
export function missingFeature(): string | null {
  if (process.getuid?.() !== 0) return 'root'
  try {
    execFileSync('ip', ['netns', 'add', 'dpt-probe'], { stdio: 'pipe' })
    execFileSync('ip', ['netns', 'exec', 'dpt-probe', 'nft', 'list', 'ruleset'], { stdio: 'pipe' })
    execFileSync('ip', ['netns', 'delete', 'dpt-probe'], { stdio: 'pipe' })
    return null
  } catch (error) {
    return `network namespaces with nftables (${String(error).split('\n')[0]})`
  }
}

/** A mocha hook for suites that need the kernel. */
export function needsKernel(this: Mocha.Context): void {
  const missing = missingFeature()
  if (missing == null) return
  if (process.env['CI'] != null) throw new Error(`this test needs ${missing}`)
  console.error(`      skipped: needs ${missing}`)
  this.skip()
}

let made = 0

/** A network namespace with a private name, gone after `remove`. */
export class Namespace {
  readonly name = `dpt-${process.pid.toString(36)}-${++made}`
  readonly #children = new Set<ChildProcess>()

  constructor() {
    execFileSync('ip', ['netns', 'add', this.name])
    // Addresses that become usable a second later would make any comparison of before and after a game of chance.
    this.run('sysctl', '-qw', 'net.ipv6.conf.default.accept_dad=0', 'net.ipv4.tcp_congestion_control=reno')
    this.run('ip', 'link', 'set', 'lo', 'up')
  }

  run(program: string, ...args: string[]): string {
    return execFileSync('ip', ['netns', 'exec', this.name, program, ...args], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: 20_000
    })
  }

  /** `ip` commands, one per line. */
  ip(...commands: string[]): void {
    for (const command of commands) this.run('ip', ...command.split(' '))
  }

  input(program: string, args: string[], input: string): string {
    return execFileSync('ip', ['netns', 'exec', this.name, program, ...args], {
      encoding: 'utf8',
      input,
      timeout: 20_000
    })
  }

  sysctl(path: string, value?: string): string {
    return this.run('sysctl', '-n', ...(value == null ? [path] : ['-w', `${path}=${value}`])).trim()
  }

  spawn(program: string, args: string[]): ChildProcess {
    const child = spawn('ip', ['netns', 'exec', this.name, program, ...args], { stdio: ['pipe', 'pipe', 'pipe'] })
    this.#children.add(child)
    child.once('close', () => this.#children.delete(child))
    return child
  }

  /** Everything that steers packets or names devices here: for "byte for byte as before". */
  snapshot(): string {
    const read = [
      this.run('nft', 'list', 'ruleset'),
      this.run('ip', 'rule', 'show'),
      this.run('ip', '-6', 'rule', 'show'),
      this.run('ip', 'route', 'show', 'table', 'all'),
      this.run('ip', '-6', 'route', 'show', 'table', 'all'),
      this.run('ip', '-br', 'address', 'show'),
      this.run(
        'sh',
        '-c',
        'cd /proc/sys/net && grep -r . ipv4/conf ipv6/conf ipv4/ip_forward 2>/dev/null | grep -v stable_secret | sort'
      )
    ]
    return read.join('\n---\n')
  }

  pids(): number[] {
    return execFileSync('ip', ['netns', 'pids', this.name], { encoding: 'utf8' })
      .split('\n')
      .filter(Boolean)
      .map(Number)
  }

  remove(): void {
    for (const child of this.#children) child.kill('SIGKILL')
    for (const pid of this.pids()) process.kill(pid, 'SIGKILL')
    execFileSync('ip', ['netns', 'delete', this.name])
  }
}

/** Joins two namespaces by a veth pair. Addresses in CIDR form. */
export function wire(
  a: Namespace,
  deviceA: string,
  addressesA: string[],
  b: Namespace,
  deviceB: string,
  addressesB: string[]
): void {
  execFileSync('ip', [
    'link',
    'add',
    deviceA,
    'netns',
    a.name,
    'type',
    'veth',
    'peer',
    'name',
    deviceB,
    'netns',
    b.name
  ])
  for (const [ns, device, addresses] of [
    [a, deviceA, addressesA],
    [b, deviceB, addressesB]
  ] as const) {
    for (const address of addresses) {
      ns.run('ip', 'address', 'add', address, 'dev', device, ...(address.includes(':') ? ['nodad'] : []))
    }
    ns.ip(`link set ${device} up`)
  }
}

/** A temporary directory, and in it executables `pegasus` and `tempest` that speak the control protocol only. */
export function temporaryState(): { stateDir: string; enginesDir: string; remove: () => void } {
  const dir = mkdtempSync(join(tmpdir(), 'dpt-'))
  const enginesDir = join(dir, 'engines')
  mkdirSync(enginesDir)
  for (const name of ['pegasus', 'tempest']) {
    const file = join(enginesDir, name)
    writeFileSync(file, `#!/bin/sh\nexec "${process.execPath}" "${join(here, 'protocol-engine.ts')}" ${name} "$@"\n`)
    chmodSync(file, 0o755)
  }
  return { stateDir: join(dir, 'state'), enginesDir, remove: () => rmSync(dir, { recursive: true, force: true }) }
}

export interface AppliedAnswer {
  generation: number
  services: Record<string, AppliedService>
  failure: { reason: string; message: string } | null
}

/** A KernelDataplane in a namespace, by way of `driver.ts`. */
export class Driver {
  readonly events: DataplaneEvent[] = []
  readonly child: ChildProcess
  #log = ''
  #ids = 0
  readonly #answers = new Map<number, { resolve: (value: never) => void; reject: (error: Error) => void }>()
  readonly #waiters = new Set<() => void>()

  constructor(
    ns: Namespace,
    options: { stateDir: string; enginesDir?: string; privateKeys?: Record<'pegasus' | 'tempest', string> },
    /** A program that starts the driver, with its arguments. */
    by: string[] = []
  ) {
    const words = [...by, process.execPath, join(here, 'driver.ts'), JSON.stringify(options)]
    this.child = ns.spawn(words[0]!, words.slice(1))
    this.child.stderr!.setEncoding('utf8').on('data', (chunk: string) => (this.#log += chunk))
    createInterface({ input: this.child.stdout! }).on('line', (line) => this.#receive(line))
    this.child.once('close', () => {
      for (const { reject } of this.#answers.values()) reject(new Error(`the driver ended:\n${this.#log}`))
    })
  }

  get log(): { level: string; module: string; message: string; [field: string]: unknown }[] {
    return this.#log
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line))
  }

  start = (): Promise<void> => this.#send({ op: 'start' })
  apply = (desired: DesiredState): Promise<AppliedAnswer> => this.#send({ op: 'apply', desired })
  engines = (): Promise<EngineStatus[]> => this.#send({ op: 'engines' })
  counters = (): Promise<Record<string, ServiceCounters>> => this.#send({ op: 'counters' })

  /** Stops the data plane and ends the process. */
  async stop(mode: 'remove' | 'keep', drainMs = 0): Promise<void> {
    await this.#send({ op: 'stop', mode, drainMs })
    await this.#end(() => this.child.stdin!.end())
  }

  kill = (): Promise<void> => this.#end(() => this.child.kill('SIGKILL'))

  /** The first event that fits, past or to come. */
  async event(
    type: DataplaneEvent['type'],
    fits: (event: never) => boolean = () => true,
    ms = 5_000
  ): Promise<DataplaneEvent> {
    const find = (): DataplaneEvent | undefined =>
      this.events.find((event) => event.type === type && fits(event as never))
    const deadline = performance.now() + ms
    for (;;) {
      const found = find()
      if (found != null) return found
      const left = deadline - performance.now()
      if (left <= 0) throw new Error(`no event ${type} within ${ms} ms; log:\n${this.#log}`)
      await new Promise<void>((resolve) => {
        const timer = setTimeout(done, left)
        const waiters = this.#waiters
        function done(): void {
          clearTimeout(timer)
          waiters.delete(done)
          resolve()
        }
        waiters.add(done)
      })
    }
  }

  #end(how: () => void): Promise<void> {
    return new Promise((resolve) => {
      if (this.child.exitCode != null || this.child.signalCode != null) resolve()
      else this.child.once('close', () => resolve())
      how()
    })
  }

  #send<T>(command: object): Promise<T> {
    const id = ++this.#ids
    return new Promise((resolve, reject) => {
      this.#answers.set(id, { resolve, reject })
      this.child.stdin!.write(`${JSON.stringify({ ...command, id })}\n`)
    })
  }

  #receive(line: string): void {
    const message = JSON.parse(line) as {
      id?: number
      result?: unknown
      error?: { message: string; text: string }
      event?: DataplaneEvent
    }
    if (message.event != null) {
      this.events.push(message.event)
      for (const wake of this.#waiters) wake()
      return
    }
    if (message.id == null) return
    const answer = this.#answers.get(message.id)
    this.#answers.delete(message.id)
    if (message.error == null) answer?.resolve(message.result as never)
    else answer?.reject(new Error(`${message.error.message} (${message.error.text})`))
  }
}

export const readJson = (path: string): Record<string, unknown> => JSON.parse(readFileSync(path, 'utf8'))
