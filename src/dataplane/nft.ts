import { runOrThrow } from './exec.ts'
import { nftLineBytesMax } from './limits.ts'
import type { NftSession } from './nft-session.ts'
import { removeText, TABLE, type Counter } from './ruleset.ts'

/** The few things we ask of the `nft` program; only ever about our own table. */
export interface Nft {
  /** Loads a script in one kernel transaction. */
  load(script: string): Promise<void>
  /** Runs commands in one kernel transaction: all of them, or none and a rejection. */
  change(session: NftSession, commands: readonly string[]): Promise<void>
  /** Asks the kernel whether it would take the script. */
  check(script: string): Promise<void>
  /** The table as text without counters' values, empty when it is not there; null when nft does not tell. */
  listing(session: NftSession): Promise<string | null>
  /** None when the table is not there. */
  counters(session: NftSession): Promise<Map<string, Counter>>
  remove(): Promise<void>
}

export const nft: Nft = {
  load: async (script) => void (await runOrThrow('nft', ['-f', '-'], { input: script })),
  change: async (session, commands) => {
    const line = commands.join('; ')
    if (line.length > nftLineBytesMax) return nft.load(`${commands.join('\n')}\n`)
    const said = (await session.ask(line)).split('\n').slice(0, -1)
    if (said.length > 0) throw new Error(`nft: ${said.join('\n')}`)
  },
  check: async (script) => void (await runOrThrow('nft', ['-c', '-f', '-'], { input: script })),
  listing: (session) =>
    session
      .ask(`list table inet ${TABLE}`)
      .catch((error: unknown) => (/No such file or directory/.test(String(error)) ? '' : null)),
  counters: (session) => session.ask(`list counters table inet ${TABLE}`).then(parseCounters, () => new Map()),
  remove: async () => void (await runOrThrow('nft', ['-f', '-'], { input: removeText }))
}

function parseCounters(json: string): Map<string, Counter> {
  const { nftables } = JSON.parse(json) as { nftables: { counter?: Counter & { name: string } }[] }
  return new Map(
    nftables.flatMap(({ counter }) =>
      counter == null ? [] : [[counter.name, { packets: counter.packets, bytes: counter.bytes }]]
    )
  )
}
