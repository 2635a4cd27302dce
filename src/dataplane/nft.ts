import { run, runOrThrow } from './exec.ts'
import type { NftSession } from './nft-session.ts'
import { removeText, TABLE, type Counter } from './ruleset.ts'

/** The few things we ask of the `nft` program; only ever about our own table. */
export interface Nft {
  /** Loads a script in one kernel transaction. Resolves to the pid of the `nft` that did it, as `nft monitor` names it. */
  load(script: string): Promise<number>
  /** Asks the kernel whether it would take the script. */
  check(script: string): Promise<void>
  /** The table as text without counters' values, or null when it is not there. */
  listing(): Promise<string | null>
  /** None when the table is not there. */
  counters(session: NftSession): Promise<Map<string, Counter>>
  remove(): Promise<void>
}

export const nft: Nft = {
  load: async (script) => (await runOrThrow('nft', ['-f', '-'], { input: script })).pid,
  check: async (script) => void (await runOrThrow('nft', ['-c', '-f', '-'], { input: script })),
  listing: async () => {
    const { code, stdout } = await run('nft', ['-s', 'list', 'table', 'inet', TABLE])
    return code === 0 ? stdout : null
  },
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
