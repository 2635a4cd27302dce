import { run, runOrThrow } from './exec.ts'
import { TABLE } from './ruleset.ts'

/**
 * A host answers ARP for any of its addresses on any of its interfaces, and when it asks for somebody by the parent in order to
 * answer as such an address (a ping to it, say), the neighbours learn from its question where that address is. For the address
 * of a service's device either would invite packets in by the parent, where the service does not look; so table `arp arctic`
 * lets only the device itself answer, and has questions by other interfaces come from nobody (RFC 5227 calls that a probe;
 * it is answered). (The other way round, a device of ours answers for its own addresses only: `arp_ignore`, see sysctl.ts.)
 */
export interface GuardedAddress {
  device: string
  /** IPv4, without prefix length. */
  address: string
}

const REMOVE = `table arp ${TABLE}\ndelete table arp ${TABLE}\n`

const text = (guarded: readonly GuardedAddress[]): string => {
  const byAddress = [...Map.groupBy(guarded, ({ address }) => address)].map(([address, devices]) => ({
    address,
    others: `!= { ${devices.map(({ device }) => `"${device}"`).join(', ')} }`
  }))
  const answers = byAddress.map(
    ({ address, others }) => `iifname ${others} arp operation request arp daddr ip ${address} drop`
  )
  const questions = byAddress.map(
    ({ address, others }) => `oifname ${others} arp saddr ip ${address} arp saddr ip set 0.0.0.0`
  )
  return `${REMOVE}table arp ${TABLE} {\n${chain('input', answers)}${chain('output', questions)}}\n`
}

const chain = (name: string, rules: readonly string[]): string =>
  `chain ${name} {\n type filter hook ${name} priority 0; policy accept;\n${rules.map((rule) => ` ${rule}\n`).join('')}}\n`

export class ArpGuard {
  /** Null until the first look: a killed agent may have left a table. */
  #wanted: readonly GuardedAddress[] | null = null
  #listing: string | null = null

  /** Guards exactly these addresses. @throws {ProgramFailedError} on a kernel without nftables for ARP */
  async set(guarded: readonly GuardedAddress[]): Promise<void> {
    if (JSON.stringify(guarded) === JSON.stringify(this.#wanted)) return
    if (guarded.length === 0) {
      await this.remove()
      return
    }
    await runOrThrow('nft', ['-f', '-'], { input: text(guarded) })
    this.#wanted = guarded
    this.#listing = await list()
  }

  /** Answers whether it had to be put back. */
  async repair(): Promise<boolean> {
    if (this.#wanted == null || this.#wanted.length === 0 || (await list()) === this.#listing) return false
    await runOrThrow('nft', ['-f', '-'], { input: text(this.#wanted) })
    return true
  }

  /** Also takes away what a killed agent left. */
  async remove(): Promise<void> {
    this.#wanted = []
    if ((await list()) != null) await runOrThrow('nft', ['-f', '-'], { input: REMOVE })
  }
}

async function list(): Promise<string | null> {
  const { code, stdout } = await run('nft', ['-s', 'list', 'table', 'arp', TABLE])
  return code === 0 ? stdout : null
}
