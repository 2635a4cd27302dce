import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { attempt, available, run } from '../lab/command.ts'
import type { Host } from '../lab/host.ts'
import { until } from '../lab/wait.ts'
import type { TwoSites } from '../lab/topology.ts'

/** A wireguard-go that can be measured. */
export interface WireguardGo {
  name: string
  program: string
}

/** The newest of the Go module proxy when this bench was written; with the offloads that Debian 12's lacks. */
const MODULE = 'golang.zx2c4.com/wireguard'
const VERSION = 'v0.0.0-20260522210424-ecfc5a8d5446'
const CACHE = fileURLToPath(new URL('../.cache/bench/', import.meta.url))

/** Debian's, and a newer one built from source when Go is there. `say` tells what is left out, and why. */
export async function wireguards(say: (text: string) => void): Promise<WireguardGo[]> {
  const found: WireguardGo[] = []
  if (available('wireguard-go')) {
    const { stdout } = await attempt(['dpkg-query', '-W', '-f', '${Version}', 'wireguard-go'])
    found.push({
      name: `wireguard-go ${stdout === '' ? 'of this host' : `${stdout} (Debian)`}`,
      program: 'wireguard-go'
    })
  } else say('wireguard-go is not installed: left out')
  const program = `${CACHE}${VERSION}/wireguard`
  if (!existsSync(program)) {
    mkdirSync(CACHE, { recursive: true })
    const go = ['go', 'install', `${MODULE}@${VERSION}`]
    const env = { GOBIN: `${CACHE}${VERSION}`, GOFLAGS: '-mod=mod', CGO_ENABLED: '0' }
    const built = available('go') ? await attempt(go, { env, timeoutMs: 180_000, cwd: CACHE }) : null
    if (built?.code !== 0)
      say(`the newer wireguard-go was not built (${built == null ? 'no Go here' : built.stderr.trim()}): left out`)
  }
  if (existsSync(program)) found.push({ name: `wireguard-go ${VERSION.slice(0, 15)} from source`, program })
  return found
}

/** Brings up a tunnel between the edges; what edge-a sends to `address` goes through it. Returns both processes. */
export async function wireguardTunnel(
  { edgeA, edgeB }: TwoSites,
  { program }: WireguardGo,
  { device, port, address }: { device: string; port: number; address: string }
): Promise<number[]> {
  const [a, b] = await Promise.all([end(edgeA, program, device), end(edgeB, program, device)])
  await configure(edgeA, device, port, a.privateKey, b.publicKey, `10.9.0.2:${port}`)
  await configure(edgeB, device, port, b.privateKey, a.publicKey, `10.9.0.1:${port}`)
  await edgeA.ip([`route add ${address}/32 dev ${device}`])
  await masquerade(edgeB, device, port % 100)
  return [a.pid, b.pid]
}

/**
 * As the product does at the target: what comes out of a tunnel goes on under edge-b's own address, and its replies go
 * back into that tunnel, found by conntrack mark. `mark` is the tunnel's own, a small number.
 */
export async function masquerade(edge: Host, device: string, mark: number): Promise<void> {
  const rules = `table ip bench_${device} {
  chain tunnelled { type filter hook prerouting priority -150
    iifname "${device}" ct mark set ${mark}
    iifname "lan0" ct mark ${mark} meta mark set ${mark}
  }
  chain outgoing { type nat hook postrouting priority 100
    ct mark ${mark} oifname "lan0" masquerade
  }
}\n`
  await edge.exec(['nft', '-f', '-'], { input: rules })
  // A device without an address of its own never passes a reverse path check, not even the loose one.
  await edge.sysctl({ [`net/ipv4/conf/${device}/rp_filter`]: 0 })
  await edge.ip([
    `rule add fwmark ${mark}/0xff lookup ${1000 + mark}`,
    `route add default dev ${device} table ${1000 + mark}`
  ])
}

async function end(
  host: Host,
  program: string,
  device: string
): Promise<{ pid: number; privateKey: string; publicKey: string }> {
  const task = await host.spawn(withOwnSockets(host, [program, '-f', device]), { env: { LOG_LEVEL: 'error' } })
  await until(
    `${program} on ${host.name}`,
    async () => {
      if (!task.running) throw new Error(task.stderr)
      return (await host.attempt(withOwnSockets(host, ['wg', 'show', device]))).code === 0
    },
    { timeoutMs: 5000 }
  )
  const privateKey = (await run(['wg', 'genkey'])).trim()
  return { pid: task.pid, privateKey, publicKey: (await run(['wg', 'pubkey'], { input: privateKey })).trim() }
}

async function configure(
  host: Host,
  device: string,
  port: number,
  privateKey: string,
  peer: string,
  endpoint: string
): Promise<void> {
  const keyFile = host.path(`${device}.key`)
  writeFileSync(keyFile, privateKey, { mode: 0o600 })
  const set = ['wg', 'set', device, 'listen-port', String(port), 'private-key', keyFile]
  const flags = ['peer', peer, 'endpoint', endpoint, 'allowed-ips', '0.0.0.0/0']
  await host.exec(withOwnSockets(host, [...set, ...flags]))
  await host.ip([`link set ${device} mtu 1420 up`])
}

/**
 * wireguard-go's control sockets stand in /run/wireguard by device name, for all network namespaces of a machine. Each
 * command of a host has mounts of its own, so a directory of the host can be put there.
 */
function withOwnSockets(host: Host, argv: readonly string[]): string[] {
  const sockets = host.path('wireguard')
  const mount = 'mkdir -p /run/wireguard "$0" && mount --bind "$0" /run/wireguard && exec "$@"'
  return ['sh', '-c', mount, sockets, ...argv]
}
