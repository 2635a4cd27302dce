import type { DesiredState, OutboundService } from './desired.ts'
import { serviceDeviceName } from './devices.ts'
import type { HostFacts } from './interfaces.ts'
import type { IpLink } from './ip.ts'
import { previewLinesMax } from './limits.ts'
import type { Marks } from './marks.ts'
import { GENERAL_LISTENER } from './pegasus.ts'
import { planDevices, planSteering } from './plan.ts'
import { without } from './policy.ts'
import { BITS, parseAddress, prefixOf, samePrefix, type Prefix } from './prefix.ts'
import { rulesetObjects, tableText } from './ruleset.ts'

/**
 * What another desired state would change in table `inet arctic`, line by line: an object (`map route_4_x_24`), or one rule
 * or element with the object it is in (`map route_4_x_24: 10.2.0.0 : goto service_X`). `more`: how many lines were left out.
 */
export interface RulePreview {
  added: string[]
  removed: string[]
  more: number
}

/** What the ruleset of a host depends on besides the desired state. */
export interface PreviewHost {
  facts: HostFacts
  marks: Marks
  indexes: ReadonlyMap<string, number>
  ports: ReadonlyMap<string, number>
  parent: string | null
}

/** Changes nothing. A port that Pegasus has yet to choose is 0 in it. */
export function previewRules(before: DesiredState, after: DesiredState, host: PreviewHost): RulePreview {
  const old = rulesOf(before, host)
  const next = rulesOf(after, host)
  const added = without(next, old)
  const removed = without(old, next)
  const more = Math.max(0, added.length - previewLinesMax) + Math.max(0, removed.length - previewLinesMax)
  return { added: added.slice(0, previewLinesMax), removed: removed.slice(0, previewLinesMax), more }
}

function rulesOf(desired: DesiredState, { facts, marks, indexes, ports, parent }: PreviewHost): string[] {
  const plan = planDevices(desired, { known: indexes, facts, marks, parent })
  const steering = planSteering(desired, {
    plan,
    failedDevices: new Set(),
    facts: withDevices(facts, desired.outbound),
    marks
  })
  const names = [GENERAL_LISTENER, ...steering.serviceDevices.values()]
  const known = new Map(names.map((name) => [name, ports.get(name) ?? 0]))
  return linesOf(tableText(rulesetObjects(steering.steering(known, GENERAL_LISTENER))))
}

/** The host as it will be with devices that are yet to be made. */
function withDevices(facts: HostFacts, services: readonly OutboundService[]): HostFacts {
  const links: IpLink[] = []
  const networks: Prefix[] = []
  for (const { id, interface: device } of services) {
    const ifname = serviceDeviceName(id)
    if (device == null || facts.links.some((link) => link.ifname === ifname)) continue
    const addr_info = [device.ipv4Cidr, device.ipv6Cidr].flatMap((cidr) => {
      const [local = '', length] = cidr?.split('/') ?? []
      const address = parseAddress(local)
      if (address == null) return []
      const prefixlen = Number(length)
      if (prefixlen < BITS[address.family]) networks.push(prefixOf(address, prefixlen))
      return [
        { family: address.family === 4 ? ('inet' as const) : ('inet6' as const), local, prefixlen, scope: 'global' }
      ]
    })
    links.push({ ifindex: 0, ifname, flags: ['UP'], mtu: 0, link_type: 'ether', addr_info })
  }
  const own = links
    .flatMap(({ addr_info }) => addr_info.map(({ local }) => parseAddress(local)))
    .filter((a) => a != null)
  const attached = networks.filter((network) => !facts.attached.some((other) => samePrefix(other, network)))
  return {
    ...facts,
    links: [...facts.links, ...links],
    own: [...facts.own, ...own],
    attached: [...facts.attached, ...attached]
  }
}

/** A ruleset's objects, and its rules and elements, each with the name of the object that it belongs to. */
export function linesOf(ruleset: string): string[] {
  const lines: string[] = []
  let object = ''
  for (const line of ruleset.split('\n').slice(TABLE_HEAD_LINES)) {
    const text = line.trim()
    const head = /^(chain|map|set|counter) (\S+) \{/.exec(text)
    if (head != null) lines.push((object = `${head[1]} ${head[2]}`))
    else if (text !== '}' && text !== '' && !/^(type \S+( \. \S+)*|typeof ct zone)( : verdict)?$/.test(text)) {
      const elements = /^elements = \{ (.*) \}$/.exec(text)?.[1]?.split(', ') ?? [text]
      for (const element of elements) lines.push(`${object}: ${element}`)
    }
  }
  return lines
}

/** The table is made, removed and made again; then its objects follow. */
const TABLE_HEAD_LINES = 3
