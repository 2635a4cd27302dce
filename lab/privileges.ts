import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { available } from './command.ts'

/**
 * Making hosts needs root (CAP_SYS_ADMIN and CAP_NET_ADMIN), or a user namespace in which one is root. This file finds
 * out which it is, and wraps or re-executes a command so that it has it.
 */
export type Privilege = { kind: 'root' } | { kind: 'user-namespace' } | { kind: 'none'; missing: string }

/** Programs without which no host can be made or looked at. */
const PROGRAMS = { ip: 'iproute2', nft: 'nftables', ping: 'iputils-ping', tcpdump: 'tcpdump', curl: 'curl' }

const CAP_NET_ADMIN = 12n
const CAP_SYS_ADMIN = 21n
/** Marks the inner run, so that it does not try once more. */
const INSIDE = 'ARCTIC_LAB_USER_NAMESPACE'
const UNSHARE = ['unshare', '--user', '--map-root-user', '--mount', '--net', '--pid', '--fork', '--kill-child']

export const insideUserNamespace = (): boolean => process.env[INSIDE] != null

/** A sentence for each program of the lab that is missing; empty when all are there. */
export function missingPrograms(): string[] {
  const missing = Object.entries(PROGRAMS).filter(([program]) => !available(program))
  if (missing.length === 0) return []
  const packages = missing.map(([, name]) => name).join(' ')
  return [`missing: ${missing.map(([program]) => program).join(', ')}; install with "apt-get install ${packages}"`]
}

export function privilege(): Privilege {
  const effective = BigInt(`0x${/^CapEff:\s*(\w+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0'}`)
  const has = (cap: bigint): boolean => (effective >> cap) % 2n === 1n
  const root = process.getuid?.() === 0
  if (root && has(CAP_SYS_ADMIN) && has(CAP_NET_ADMIN)) return { kind: 'root' }
  if (!insideUserNamespace() && spawnSync(UNSHARE[0] ?? '', [...UNSHARE.slice(1), 'true']).status === 0) {
    return { kind: 'user-namespace' }
  }
  const lacking = root ? 'CAP_SYS_ADMIN and CAP_NET_ADMIN (a container needs --privileged)' : 'root'
  return {
    kind: 'none',
    missing: `network namespaces need ${lacking}, and this kernel allows no user namespaces either; run as root, or allow them with "sysctl kernel.unprivileged_userns_clone=1"`
  }
}

/** `argv` as it has to be run here to be root over hosts of its own. */
export function asRoot(argv: readonly string[]): string[] {
  if (privilege().kind !== 'user-namespace') return [...argv]
  // `ip netns` keeps its names under /run, which belongs to the real root: this run gets one of its own. Its files go
  // there too, since its pids, by which leftovers are told, mean nothing outside.
  const inside = 'mount -t tmpfs -o mode=755 tmpfs /run && mkdir -m 1777 /run/tmp && TMPDIR=/run/tmp exec "$@"'
  return [...UNSHARE, '--mount-proc', 'env', `${INSIDE}=1`, 'sh', '-c', inside, 'sh', ...argv]
}

/**
 * Returns when this process may make hosts. Where it may not but a user namespace would do, the whole command is run
 * again in one and this process ends with its exit code; where neither: throws a sentence that names what is missing.
 */
export function ensurePrivilege(): void {
  const found = privilege()
  if (found.kind === 'root') return
  if (found.kind === 'none') throw new Error(found.missing)
  const argv = asRoot([process.execPath, ...process.execArgv, ...process.argv.slice(1)])
  // Ctrl-C reaches the inner run as well, which cleans up; this one only has to outlive it.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {})
  const { status } = spawnSync(argv[0] ?? '', argv.slice(1), { stdio: 'inherit' })
  process.exit(status ?? 1)
}
