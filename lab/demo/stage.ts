import type { Host } from '../host.ts'
import type { Peer } from '../peer.ts'
import type { Snapshot } from '../snapshot.ts'
import type { Task } from '../task.ts'
import type { TwoSites } from '../topology.ts'

/** What every step of the demo may look at. */
export interface Stage {
  sites: TwoSites
  servers: Servers
  a: Peer
  b: Peer
  /** Both edges as they were before an agent ran on them. */
  untouched: { a: Snapshot; b: Snapshot }
}

export interface Servers {
  http: Task
  /** SHA-256 of the served file. */
  sha256: string
  echo: Task
}

export const HTTP_PORT = 8000
export const ECHO_PORT = 9000
export const MIB = 1024 * 1024
export const FILE_BYTES = 64 * MIB
/** What is looked for on the wire. */
export const BODY_TEXT = 'the body of a private file'
export const ECHO_TEXT = 'a private echo'
export const CLEAR_TEXT = 'this one is sent in the clear'

/** Somebody else's table, policy rule, route and setting, which have to be there afterwards as they were. */
export async function addOthersSettings(host: Host): Promise<void> {
  const table = 'table inet others {\n chain input {\n type filter hook input priority 0\n tcp dport 1 drop\n }\n}\n'
  await host.exec(['nft', '-f', '-'], { input: table })
  await host.ip(['rule add pref 20000 fwmark 0x42/0xff lookup 4242', 'route add blackhole 192.0.2.0/24 table 4242'])
  await host.sysctl({ 'net.ipv4.conf.wire0.accept_source_route': 1 })
}
