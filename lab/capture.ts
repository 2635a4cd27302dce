import { run } from './command.ts'
import type { Host } from './host.ts'
import { captureBufferKiB, settleMs } from './limits.ts'
import { packets } from './pcap.ts'
import { insideUserNamespace } from './privileges.ts'
import type { Task } from './task.ts'
import { sleep, until } from './wait.ts'

export interface CaptureReport {
  packets: number
  bytes: number
  /** Packets the kernel could not hand to the capture: anything but 0 makes "not found" worthless. */
  dropped: number
  /** Packets from or to a port: `tcp/7947` → 812. */
  byPort: ReadonlyMap<string, number>
  /** For each text that was looked for, in how many packets it was found. */
  found: ReadonlyMap<string, number>
}

/** Everything that goes over one device of a host, both directions, whole packets. */
export class Capture {
  readonly path: string
  readonly #task: Task

  private constructor(path: string, task: Task) {
    this.path = path
    this.#task = task
  }

  /** `filter` in tcpdump's language; everything without one. */
  static async start(host: Host, device: string, filter = ''): Promise<Capture> {
    const path = host.path(`${device}-${++captures}.pcap`)
    // `-Z root`: dropping to another user would not work inside a user namespace. Immediate mode: what has been seen is
    // in the file, not in a buffer that the end of the capture would throw away.
    const options = ['-Z', 'root', '-n', '-U', '--immediate-mode', '-s', '0', '-B', String(captureBufferKiB)]
    const env: Record<string, string> = insideUserNamespace() ? { LD_PRELOAD: await groupsShim(host) } : {}
    const task = await host.spawn(['tcpdump', ...options, '-i', device, '-w', path, filter], { env })
    await until('tcpdump to listen', () => /listening on/.test(task.stderr) || ended(task), { timeoutMs: 10_000 })
    return new Capture(path, task)
  }

  /** Ends the capture and reads it. `texts` are looked for inside each packet. */
  async stop(texts: readonly string[] = []): Promise<CaptureReport> {
    await sleep(settleMs)
    await this.#task.stop({ signal: 'SIGINT', graceMs: 10_000 })
    const dropped = Number(/(\d+) packets? dropped by kernel/.exec(this.#task.stderr)?.[1] ?? Number.NaN)
    return { ...read(this.path, texts), dropped }
  }
}

export function read(path: string, texts: readonly string[]): Omit<CaptureReport, 'dropped'> {
  const needles = texts.map((text) => ({ text, bytes: Buffer.from(text) }))
  const byPort = new Map<string, number>()
  const found = new Map<string, number>(texts.map((text) => [text, 0]))
  let count = 0
  let bytes = 0
  for (const packet of packets(path)) {
    count += 1
    bytes += packet.frame.length
    for (const port of new Set([packet.sourcePort, packet.destinationPort])) {
      if (port != null) add(byPort, `${packet.protocol}/${port}`)
    }
    if (packet.protocol === 'icmp') add(byPort, 'icmp')
    for (const { text, bytes: needle } of needles) if (packet.frame.includes(needle)) add(found, text)
  }
  return { packets: count, bytes, byPort, found }
}

/**
 * Whoever is root in a user namespace cannot set supplementary groups, which tcpdump insists on. It has none to lose
 * there, so these two calls may as well succeed. Returns the library to preload.
 */
async function groupsShim(host: Host): Promise<string> {
  const library = host.path('groups.so')
  const source = 'int initgroups(void) { return 0; }\nint setgroups(void) { return 0; }\n'
  await run(['cc', '-shared', '-fPIC', '-fno-builtin', '-x', 'c', '-', '-o', library], { input: source })
  return library
}

function ended(task: Task): false {
  if (!task.running) throw new Error(`tcpdump ended: ${task.stderr.trim()}`)
  return false
}

const add = (map: Map<string, number>, key: string): void => {
  map.set(key, (map.get(key) ?? 0) + 1)
}

let captures = 0
