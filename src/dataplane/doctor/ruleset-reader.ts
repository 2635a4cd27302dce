/**
 * What `nft list ruleset` says of the rules of others, as far as it matters to us. The text is read and not the JSON,
 * because `nft -j` leaves out what iptables-nft has written.
 */
export interface ForeignRule {
  /** `ip filter`. */
  table: string
  chain: string
  text: string
}

export interface ForeignRules {
  /** Every chain, as `family table chain`. */
  chains: string[]
  rules: ForeignRule[]
  /** Chains at these hooks that drop or refuse what nobody accepts, by policy or by their last rule. */
  forwardDrops: BaseChain[]
  inputDrops: BaseChain[]
}

export interface BaseChain {
  /** `ip filter`. */
  table: string
  chain: string
}

/** A rule that takes all that has come so far. */
const EVERYTHING = /^(log .*?)?(counter( packets \d+ bytes \d+)? )?(drop|reject)( with .*)?$/

/** `own`: the table that is ours, as `inet arctic`. Whatever cannot be read is passed over. */
export function readRuleset(text: string, own: string): ForeignRules {
  const found: ForeignRules = { chains: [], rules: [], forwardDrops: [], inputDrops: [] }
  let table: string | null = null
  let chain: string | null = null
  let drops: { among: BaseChain[]; lastly: boolean } | null = null
  for (const line of text.split('\n')) {
    const opened = /^table (\S+ \S+) \{/.exec(line)
    if (opened != null) {
      table = opened[1] === own ? null : (opened[1] ?? null)
      chain = null
      continue
    }
    if (table == null) continue
    const begun = /^\tchain (\S+) \{/.exec(line)
    if (begun != null) {
      chain = begun[1] ?? ''
      drops = null
      found.chains.push(`${table} ${chain}`)
    } else if (line === '\t}') {
      if (drops?.lastly === true && chain != null) drops.among.push({ table, chain })
      drops = null
      chain = null
    } else if (chain != null && line.startsWith('\t\t')) {
      const rule = line.trim()
      const hook = /^type filter hook (forward|input) .*policy (accept|drop)/.exec(rule)
      if (hook != null)
        drops = { among: hook[1] === 'input' ? found.inputDrops : found.forwardDrops, lastly: hook[2] === 'drop' }
      else if (!rule.startsWith('type ')) {
        found.rules.push({ table, chain, text: rule })
        if (drops != null) drops.lastly ||= EVERYTHING.test(rule)
      }
    }
  }
  return found
}

/**
 * Which bits of the packet mark a rule writes: null when it writes none. `meta mark set 0x1` writes them all, `meta mark
 * set meta mark | 0x4000` one, `meta mark set meta mark & 0xff00ffff ^ 0x1` those outside of the first number.
 */
export function writtenBits(rule: string): number | null {
  const set = /\b(?:meta|ct) mark set (.*?)(?: (?:counter|comment|accept|return|jump)\b.*)?$/.exec(rule)?.[1]
  if (set == null) {
    // iptables' MARK as nft shows what it has no words for.
    const masked = /\b(?:MARK|CONNMARK)\b.*?\bx?set(?:-x?mark)? 0x([0-9a-f]+)(?:\/0x([0-9a-f]+))?/i.exec(rule)
    return masked == null ? null : masked[2] == null ? ALL : number(masked[2])
  }
  // One mark copied to the other: whatever is in it was put there by another rule.
  if (/^(?:meta|ct) mark$/.test(set)) return null
  const own = /\b(meta|ct) mark set/.exec(rule)?.[1]
  const change = /^\(?(meta|ct) mark(?: (?:&|and) 0x([0-9a-f]+))?\)?(?: (?:\||or|\^|xor) 0x([0-9a-f]+))?$/.exec(set)
  if (change == null || change[1] !== own) return ALL
  return ((change[2] == null ? 0 : ~number(change[2])) | (change[3] == null ? 0 : number(change[3]))) >>> 0
}

const ALL = 0xffffffff
const number = (digits: string): number => Number.parseInt(digits, 16) >>> 0
