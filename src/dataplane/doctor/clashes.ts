import type { IpRule } from '../ip.ts'
import { hex, type Marks } from '../marks.ts'
import { type Check, fail, ok, warn } from './check.ts'
import { writtenBits, type ForeignRules } from './ruleset-reader.ts'

/** Others that steer packets, by their chains: which of their ways can cross ours. */
const TOOLS: ReadonlyArray<{ name: string; chains: RegExp; bits: number }> = [
  { name: 'Docker', chains: / DOCKER/, bits: 0 },
  { name: 'Kubernetes', chains: / KUBE-/, bits: 0x0000c000 },
  { name: 'Calico', chains: / cali[-:]/, bits: 0xffff0000 },
  { name: 'Cilium', chains: / (OLD_)?CILIUM_/, bits: 0x0000ff00 },
  { name: 'Tailscale', chains: / ts-(input|forward|postrouting)/, bits: 0x00ff0000 },
  { name: 'Istio', chains: / ISTIO_/, bits: 0x00000539 },
  { name: 'NetBird', chains: /netbird/i, bits: 0x0001bdff }
]

const OTHER_BITS = 'give the other program other bits, or arctic (src/dataplane/marks.ts has ours in one place)'

/** Packet marks that somebody else uses too. */
export function markClashes({ chains, rules }: ForeignRules, rulesOfRouting: readonly IpRule[], marks: Marks): Check {
  const name = 'packet marks'
  const known = TOOLS.filter(({ chains: pattern }) => chains.some((chain) => pattern.test(chain)))
  const routed = foreign(rulesOfRouting, marks).filter((rule) => matchesOurs(rule, marks))
  if (routed.length > 0) {
    const [first] = routed.map(ruleText)
    return fail(
      name,
      `the ip rule "${first}" takes packets that bear our marks (${hex(marks.mask)})`,
      `delete that rule (ip rule del priority ${routed[0]?.priority}), or ${OTHER_BITS}`
    )
  }
  const writer = rules.find(({ text }) => ((writtenBits(text) ?? 0) & marks.mask) !== 0)
  if (writer != null) {
    return warn(
      name,
      `"${writer.text.slice(0, 120)}" in table ${writer.table}, chain ${writer.chain}, writes into our bits (${hex(marks.mask)})`,
      `let it write under a mask that spares ${hex(marks.mask)}, or ${OTHER_BITS}`
    )
  }
  const near = known.filter(({ bits }) => (bits & marks.mask) !== 0)
  if (near.length > 0) {
    const who = near.map(({ name: tool, bits }) => `${tool} (${hex(bits)})`).join(', ')
    return warn(
      name,
      `${who} may use our bits ${hex(marks.mask)}`,
      `narrow its mask, for Calico IptablesMarkMask=0x00ff0000, or ${OTHER_BITS}`
    )
  }
  const beside = known.map(({ name: tool }) => tool).join(', ')
  return ok(name, `nobody else uses ${hex(marks.mask)}${beside === '' ? '' : `; beside us: ${beside}`}`)
}

/** Rules of policy routing that stand where ours must, or are asked before them. */
export function routingRuleClashes(rules: readonly IpRule[], marks: Marks): Check {
  const name = 'ip rules'
  const others = foreign(rules, marks)
  const same = others.find(({ priority }) => priority === marks.rulePriority)
  if (same != null) {
    return warn(
      name,
      `"${ruleText(same)}" has our priority ${marks.rulePriority}, so which one is asked first is chance`,
      'give that rule another priority'
    )
  }
  const before = others.find((rule) => rule.priority > 0 && rule.priority < marks.rulePriority && isBroad(rule, marks))
  if (before != null) {
    return warn(
      name,
      `"${ruleText(before)}" is asked before ours (${marks.rulePriority}): what its table knows a way for is not carried by tunnels`,
      `give it a priority above ${marks.rulePriority}, or see that table ${before.table} has no route to what arctic carries`
    )
  }
  return ok(name, `none of others comes before ours at ${marks.rulePriority}`)
}

/** Routing tables with our numbers that others fill or ask. `tables`: those that hold a route which is not ours. */
export function tableClashes(rules: readonly IpRule[], tables: readonly number[], marks: Marks): Check {
  const name = 'routing tables'
  const [first, last] = [marks.tproxyTable, marks.tunnelTable(marks.tunnelsMax)]
  const isOurs = (table: number): boolean => table >= first && table <= last
  const taken = [...foreign(rules, marks).map(({ table }) => Number(table)), ...tables].filter(isOurs)
  if (taken.length === 0) return ok(name, `${first} to ${last} are ours alone`)
  return fail(
    name,
    `somebody else uses routing table ${taken[0]}, which is ours (${first} to ${last})`,
    `see "ip route show table ${taken[0]}" and "ip rule", and give that program another table`
  )
}

/** Who drops forwarded packets that nobody has accepted, as Docker does. */
export function forwardDrops({ forwardDrops: drops, rules }: ForeignRules): Check {
  const name = 'forwarding policy'
  const [drop] = drops
  if (drop == null) return ok(name, 'forwarded packets are not dropped by default')
  const accepts = rules.some(({ table, text }) => table === drop.table && /arct-/.test(text) && /accept/.test(text))
  if (accepts) return ok(name, `chain ${drop.chain} of table ${drop.table} drops by default, and lets our devices pass`)
  const docker = rules.some(({ table, chain }) => table === drop.table && chain === 'DOCKER-USER')
  const chain = docker ? 'DOCKER-USER' : drop.chain
  return warn(
    name,
    `chain ${drop.chain} of table ${drop.table} drops what is forwarded, so tunnels carry this host's own packets only`,
    `iptables -I ${chain} -i arct-+ -j ACCEPT; iptables -I ${chain} -o arct-+ -j ACCEPT`
  )
}

/** Who drops what comes to this host unless somebody has accepted it, as most firewalls do: intercepted TCP passes there too. */
export function inputDrops({ inputDrops: drops, rules }: ForeignRules, marks: Marks): Check {
  const name = 'input policy'
  const lets = new RegExp(`mark .*${hex(marks.tproxy).replace('0x0', '0x0?')}.*accept`)
  const closed = drops.filter(({ table }) => !rules.some((rule) => rule.table === table && lets.test(rule.text)))
  const [drop] = closed
  if (drop == null) {
    const [open] = drops
    if (open == null) return ok(name, 'packets to this host are not dropped by default')
    return ok(name, `chain ${open.chain} of table ${open.table} drops by default, and lets intercepted TCP pass`)
  }
  return warn(
    name,
    `chain ${drop.chain} of table ${drop.table} drops what it does not know, so TCP that routes take on this host is lost there`,
    closed.map((one) => letPass(one, marks)).join('; ')
  )
}

function letPass({ table, chain }: { table: string; chain: string }, { tproxy, mask }: Marks): string {
  const iptables = { 'ip filter': 'iptables', 'ip6 filter': 'ip6tables' }[table]
  return iptables == null
    ? `nft insert rule ${table} ${chain} meta mark and ${hex(mask)} == ${hex(tproxy)} accept`
    : `${iptables} -I ${chain} -m mark --mark ${hex(tproxy)}/${hex(mask)} -j ACCEPT`
}

const foreign = (rules: readonly IpRule[], { protocol }: Marks): IpRule[] =>
  rules.filter((rule) => Number(rule.protocol ?? 0) !== protocol)

/** True when a packet with some mark of ours, whatever the other bits are, fits the rule's mark and mask. */
function matchesOurs(rule: IpRule, marks: Marks): boolean {
  if (rule.fwmark == null || rule.not !== undefined) return false
  const shared = (Number(rule.fwmask ?? 0xffffffff) & marks.mask) >>> 0
  const wanted = (Number(rule.fwmark) & shared) >>> 0
  // A rule that wants our bits to be zero takes nothing of ours.
  return shared !== 0 && wanted !== 0
}

/** True for a rule that takes packets of ours whatever their addresses: `from all`, and no mark that ours never bear. */
function isBroad(rule: IpRule, marks: Marks): boolean {
  const { src = 'all', dst = 'all', iif, oif } = rule
  if (src !== 'all' || dst !== 'all' || iif != null || oif != null) return false
  if (rule.fwmark == null || rule.not !== undefined) return true
  return (Number(rule.fwmask ?? 0xffffffff) & marks.mask) === 0 ? false : matchesOurs(rule, marks)
}

export function ruleText({ priority, not, src = 'all', dst, iif, fwmark, fwmask, table }: IpRule): string {
  const mark = fwmark == null ? '' : ` fwmark ${fwmark}${fwmask == null ? '' : `/${fwmask}`}`
  const to = dst == null ? '' : ` to ${dst}`
  return `${priority}: ${not === undefined ? '' : 'not '}from ${src}${to}${iif == null ? '' : ` iif ${iif}`}${mark} lookup ${table}`
}
