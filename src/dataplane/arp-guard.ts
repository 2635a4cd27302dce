import { run, runOrThrow } from './exec.ts'
import { TABLE } from './ruleset.ts'

/**
 * A host answers ARP for any of its addresses on any of its interfaces. For the address of a service's device that would
 * invite packets in by the parent, where the service does not look; so table `arp arctic` lets only the device itself answer.
 * (The other way round, a device of ours answers for its own addresses only: `arp_ignore`, see sysctl.ts.)
 */
export interface GuardedAddress {
  device: string
  /** IPv4, without prefix length. */
  address: string
}

const REMOVE = `table arp ${TABLE}\ndelete table arp ${TABLE}\n`

const text = (guarded: readonly GuardedAddress[]): string => {
  const rules = guarded.map(
    ({ device, address }) => ` iifname != "${device}" arp operation request arp daddr ip ${address} drop\n`
  )
  return `${REMOVE}table arp ${TABLE} {\nchain input {\n type filter hook input priority 0; policy accept;\n${rules.join('')}}\n}\n`
}

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
