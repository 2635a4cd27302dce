import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { BadWire } from './bad-wire.ts'
import { run } from './command.ts'
import { Host } from './host.ts'
import { directoryOf, KEPT, removeRun, sweep } from './leftovers.ts'
import { runIdOf } from './run-id.ts'
import { until } from './wait.ts'

export interface End {
  host: Host
  /** Device name on that host. */
  device: string
  /** With prefix length; IPv4 and IPv6 alike. */
  addresses: readonly string[]
}

const SIGNALS = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const

/**
 * Hosts on one machine: network namespaces joined by veth wires. Whatever happens to this process, short of SIGKILL,
 * takes its hosts with it; what a killed run left is removed when the next one of the same prefix starts.
 */
export class Lab {
  /** `PREFIX-PID-START-N`; every namespace's name begins with it. */
  readonly runId: string
  readonly directory: string
  readonly hosts = new Map<string, Host>()
  #closed = false
  readonly #onExit = (): void => this.close()
  readonly #onSignal = (signal: keyof typeof SIGNALS): void => {
    this.close()
    process.exit(128 + SIGNALS[signal])
  }

  private constructor(runId: string) {
    this.runId = runId
    this.directory = directoryOf(runId)
    mkdirSync(this.directory, { recursive: true })
    chmodSync(this.directory, 0o755)
    process.on('exit', this.#onExit)
    for (const signal of Object.keys(SIGNALS)) process.on(signal, this.#onSignal)
  }

  /** `prefix` tells whose hosts these are; runs of one prefix do not disturb each other. */
  static async create({ prefix }: { prefix: string }): Promise<Lab> {
    // Debian leaves root's programs out of everybody else's PATH, also of one who is root in a user namespace.
    process.env['PATH'] = `${process.env['PATH']}:/usr/sbin:/sbin`
    sweep(prefix)
    labs += 1
    return new Lab(runIdOf(prefix, process.pid, labs))
  }

  /** A new host with loopback up, and with settings that do not depend on this machine's. */
  async host(name: string): Promise<Host> {
    const host = new Host(name, `${this.runId}-${name}`, join(this.directory, name))
    this.hosts.set(name, host)
    await run(['ip', 'netns', 'add', host.namespace])
    await host.ip(['link set lo up'])
    await host.sysctl({
      'net.ipv4.tcp_congestion_control': await congestionControl(host),
      // What Debian's systemd sets on every host.
      'net.ipv4.conf.all.rp_filter': 0,
      'net.ipv4.conf.default.rp_filter': 2
    })
    return host
  }

  /** Joins two hosts by a veth pair and brings both ends up. IPv6 addresses skip duplicate detection: they work at once. */
  async wire(a: End, b: End): Promise<void> {
    await run(
      `ip link add ${a.device} netns ${a.host.namespace} type veth peer name ${b.device} netns ${b.host.namespace}`.split(
        ' '
      )
    )
    await plugIn(a, b)
  }

  /** The same by a wire that loses, delays and reorders as it is told to; chance follows `seed`. It is a good one at first. */
  async badWire(a: End, b: End, seed: number): Promise<BadWire> {
    const wire = await BadWire.between(a, b, seed)
    await plugIn(a, b)
    return wire
  }

  /** Leaves hosts, processes and files as they are when this process ends. */
  keep(): void {
    writeFileSync(join(this.directory, KEPT), '')
    this.#forget()
  }

  /** Ends every process on every host and removes all of it. Synchronous; a second call does nothing. */
  close(): void {
    if (this.#closed) return
    this.#forget()
    removeRun(this.runId)
  }

  #forget(): void {
    this.#closed = true
    process.off('exit', this.#onExit)
    for (const signal of Object.keys(SIGNALS)) process.off(signal, this.#onSignal)
  }
}

/** Addresses both ends of a wire and waits until both work. */
async function plugIn(a: End, b: End): Promise<void> {
  for (const { host, device, addresses } of [a, b]) {
    // Router solicitations and multicast reports would be noise in every capture and snapshot.
    await host.sysctl({ [`net/ipv6/conf/${device}/accept_ra`]: 0, [`net/ipv6/conf/${device}/accept_dad`]: 0 })
    await host.ip([
      ...addresses.map((address) => `addr add ${address} dev ${device}${address.includes(':') ? ' nodad' : ''}`),
      `link set ${device} up`
    ])
  }
  for (const { host, device } of [a, b]) await until(`${host.name}'s ${device}`, () => ready(host, device), patience)
}

/** Labs made by this process so far. */
let labs = 0

/**
 * The usual cubic where this machine lets a namespace have it, else reno. Never the machine's own default: that may be
 * bbr without fq, which halves everything that is measured.
 */
async function congestionControl(host: Host): Promise<string> {
  const allowed = await host.exec(['cat', '/proc/sys/net/ipv4/tcp_allowed_congestion_control'])
  return allowed.split(/\s+/).includes('cubic') ? 'cubic' : 'reno'
}

/** Whether IPv6 works on a device, too: the kernel takes up to a second after "up" to notice that a carrier is there. */
async function ready(host: Host, device: string): Promise<boolean> {
  const [link] = JSON.parse(await host.exec(['ip', '-j', '-d', 'address', 'show', 'dev', device])) as LinkJson[]
  const linkLocal = link?.addr_info.find(({ family, scope }) => family === 'inet6' && scope === 'link')
  // A TAP device never says "up": it has no carrier to watch.
  const up = link?.linkinfo?.info_kind === 'tun' ? 'UNKNOWN' : 'UP'
  return link?.operstate === up && linkLocal != null && linkLocal.tentative !== true
}

interface LinkJson {
  operstate: string
  linkinfo?: { info_kind: string }
  addr_info: Array<{ family: string; scope: string; tentative?: boolean }>
}

const patience = { timeoutMs: 10_000 }
