import type { ServiceId } from '../crdt/schema.ts'
import { hex, type Marks } from './marks.ts'
import { SPECIAL_DESTINATIONS, SPECIAL_SOURCES, type MemberEndpoint } from './never-taken.ts'
import { formatAddress, formatPrefix, type Address, type Family } from './prefix.ts'
import { byText } from '../once.ts'
import type { Route } from './route.ts'
import type { RouteTable } from './route-table.ts'
import { MappedList } from './mapped-list.ts'
import { ElementMemory, lookupChains, mapName } from './ruleset-maps.ts'
import { chain, objectText, set, type NftObject } from './ruleset-objects.ts'
import { VerdictMaps } from './ruleset-verdicts.ts'

/**
 * What table `inet arctic` is made of. It is brought into the kernel by what differs from before (`ruleset-change.ts`), or
 * where that is not known by emptying and filling what is there (`ruleset-refill.ts`), in one transaction: no packet ever
 * meets half a ruleset. How a packet goes through it:
 *
 * 1. `zones` (before conntrack): what comes out of tunnel i gets conntrack zone i in its original direction.
 * 2. `prerouting`: packets out of a tunnel must be covered (`out_i`), replies to them go back in (by zone), intercepted TCP
 *    goes on to its socket, and so do answers to connections that Pegasus has made with a client's address; members' own
 *    traffic and what no route may take leaves, the rest is looked up: the maps of the device it entered by, then the
 *    general ones. A hit goes to the chain of the service, which sets the mark.
 * 3. `output`: the same for programs on this host, except what carries the engines' bypass mark. The address of a
 *    service's device stands for the device here.
 * 4. policy routing by mark (`policy.ts`), then `guard`: a marked packet leaves by its own device or not at all. Intercepted
 *    TCP for which there is no socket is reset (`unheard`).
 * 5. `source_nat…`: what came out of a tunnel takes this host's address.
 */
export interface Steering {
  marks: Marks
  /** Routes of services whose source is this host. */
  table: RouteTable
  services: readonly SteeredService[]
  /** Those of them that have a device, where that is known. */
  withDevice?: readonly SteeredService[]
  tunnels: SteeredTunnel[]
  members: MemberEndpoint[]
  /** Some service towards this host is fully transparent: Pegasus connects with addresses that are not the host's. */
  transparent: boolean
  /** Port of the TPROXY listener of all services without a device; null resets their TCP. */
  generalPort: number | null
  /** True while draining: open flows go on, nothing new is taken. */
  draining: boolean
}

export interface SteeredService {
  id: ServiceId
  device: string | null
  /** The device's own, by which programs on this host use it. */
  addresses: Address[]
  /** Index of the tunnel to its target peer; null drops what is not TCP. */
  tunnel: number | null
  /** Port of its own TPROXY listener, for a service with a device; null resets its TCP. */
  port: number | null
}

export interface SteeredTunnel {
  index: number
  device: string
  /** Routes of the services this peer has towards this host: what may come out of its tunnel. */
  covers: RouteTable
}

export interface Counter {
  packets: number
  bytes: number
}

export const TABLE = 'arctic'
/** Named counters: `in_ID` from the client's side, `out_ID` to it, `uncovered_N` refused out of tunnel N, `guarded`. */
export const counterName = (direction: 'in' | 'out', service: ServiceId): string => `${direction}_${service}`

/** Removes the table whether it is there or not. */
export const removeText = `table inet ${TABLE}\ndelete table inet ${TABLE}\n`

/** The whole table of these objects, for one `nft -f -`; its counters go on from the values that they had last. */
export const tableText = (objects: readonly NftObject[], counters: ReadonlyMap<string, Counter> = new Map()): string =>
  `${removeText}${bodyText(objects, counters)}`

/** The same where the table may be there: whatever is in it stays. */
export function bodyText(objects: readonly NftObject[], counters: ReadonlyMap<string, Counter>): string {
  const body = objects.map((object) => objectText(object, counters))
  return `table inet ${TABLE} {\n${body.join('\n')}\n}\n`
}

export const rulesetObjects = (steering: Steering): NftObject[] => rulesetParts(steering).flat()

/**
 * The same in parts, always as many, each with what it had before where that is the same: of most, a change leaves the very lists
 * of before.
 */
export function rulesetParts(steering: Steering, memory: RulesetMemory = new RulesetMemory()): Ruleset {
  for (const { device } of steering.tunnels) assertName(device)
  for (const { device } of ownDevices(steering)) if (device != null) assertName(device)
  const ids = memory.ids.of(steering.services)
  const accepting = memory.accepting(steering.tunnels)
  const accepted = memory.others(accepting, ids)
  const parts = [
    memory.counters.in.of(ids),
    memory.counters.out.of(ids),
    memory.counters.acceptedIn.of(accepted),
    memory.counters.acceptedOut.of(accepted),
    [...steering.tunnels.map(({ index }) => `uncovered_${index}`), 'guarded'].map(counter),
    sets(steering),
    intercept(steering),
    memory.chains.of(steering.services),
    memory.acceptChains.of(accepting),
    tunnels(steering, memory.elements),
    steering.draining ? [] : lookupChains('route', steering.table, toService, memory.elements),
    hooks(steering)
  ]
  memory.elements.done()
  return parts
}

export type Ruleset = ReadonlyArray<readonly NftObject[]>

/** What was made of services for the ruleset before, to be made again only of others. Of one host. */
export class RulesetMemory {
  readonly ids = new MappedList(({ id }: SteeredService) => id)
  readonly counters = {
    in: new MappedList((id: ServiceId) => counter(counterName('in', id))),
    out: new MappedList((id: ServiceId) => counter(counterName('out', id))),
    acceptedIn: new MappedList((id: ServiceId) => counter(counterName('in', id))),
    acceptedOut: new MappedList((id: ServiceId) => counter(counterName('out', id)))
  }
  readonly chains = new MappedList(({ id, tunnel }: SteeredService) =>
    serviceChain(tunnel == null ? 'drop' : `goto send_${tunnel}`)(id)
  )
  readonly acceptChains = new MappedList((id: ServiceId) => acceptChain(id))
  readonly elements = new ElementMemory()
  #covered: ReadonlyArray<readonly ServiceId[]> = []
  #accepting: readonly ServiceId[] = []
  #others: { accepting: readonly ServiceId[]; ids: readonly ServiceId[]; left: readonly ServiceId[] } | null = null

  /** Services that may come out of any of these tunnels. */
  accepting(steered: readonly SteeredTunnel[]): readonly ServiceId[] {
    const covered = steered.map(({ covers }) => covers.services)
    const isSame = covered.length === this.#covered.length && covered.every((one, i) => one === this.#covered[i])
    this.#covered = covered
    if (!isSame)
      this.#accepting = covered.length === 1 ? (covered[0] as readonly ServiceId[]) : [...new Set(covered.flat())]
    return this.#accepting
  }

  /** Of these, those that are not among `ids`, which have their counters already. */
  others(accepting: readonly ServiceId[], ids: readonly ServiceId[]): readonly ServiceId[] {
    if (this.#others?.accepting !== accepting || this.#others.ids !== ids) {
      const known = new Set(ids)
      this.#others = { accepting, ids, left: accepting.filter((id) => !known.has(id)) }
    }
    return this.#others.left
  }
}

const counter = byText((name): NftObject => {
  assertName(name)
  return { kind: 'counter', name }
})

function sets({ marks, tunnels: steeredTunnels, members }: Steering): NftObject[] {
  const paths = [
    `${hex(marks.tproxy)} . "lo"`,
    ...steeredTunnels.map(({ index, device }) => `${hex(marks.tunnel(index))} . "${device}"`)
  ]
  const ends = (family: Family): string[] => members.filter(({ address }) => address.family === family).map(endText)
  return [
    set('paths', 'mark . ifname', paths),
    set(
      'tunnels',
      'ifname',
      steeredTunnels.map(({ device }) => `"${device}"`)
    ),
    set('members4', 'ipv4_addr . inet_proto . inet_service', ends(4)),
    set('members6', 'ipv6_addr . inet_proto . inet_service', ends(6))
  ]
}

/** Of every member at every change of any, and an end is the same object as long as it is known. */
const endTexts = new WeakMap<MemberEndpoint, string>()

function endText(end: MemberEndpoint): string {
  let text = endTexts.get(end)
  if (text == null) {
    text = `${formatAddress(end.address)} . ${end.protocol} . ${end.port}`
    endTexts.set(end, text)
  }
  return text
}

/** Sets our bits of a mark and leaves the others. */
const setMark = (of: 'meta' | 'ct', marks: Marks, value: number): string =>
  `${of} mark set ${of} mark & ${hex(marks.keep)} | ${hex(value)}`

const intercept = ({ marks }: Steering): NftObject[] => [
  chain('intercept', [setMark('ct', marks, marks.tproxy), setMark('meta', marks, marks.tproxy)])
]

/** By what becomes of packets that are not TCP. */
const serviceChain = byText((rest) =>
  byText((id) =>
    chain(`service_${id}`, [
      `ct direction reply counter name ${counterName('out', id)} return`,
      'meta l4proto tcp goto intercept',
      `counter name ${counterName('in', id)}`,
      rest
    ])
  )
)

const acceptChain = byText((id) =>
  chain(`accept_${id}`, [
    `ct direction reply counter name ${counterName('out', id)} return`,
    `counter name ${counterName('in', id)} accept`
  ])
)

const toService = ({ serviceId }: Route): string => `goto service_${serviceId}`
const toAccept = ({ serviceId }: Route): string => `goto accept_${serviceId}`

function tunnels({ marks, tunnels: steered }: Steering, memory: ElementMemory): NftObject[] {
  return steered.flatMap(({ index, covers }) => {
    const mark = marks.tunnel(index)
    return [
      chain(`zone_${index}`, [`ct original zone set ${marks.tunnelZone(index)}`]),
      chain(`send_${index}`, [setMark('ct', marks, mark), setMark('meta', marks, mark)]),
      chain(`reply_${index}`, [`${setMark('meta', marks, mark)} accept`]),
      ...lookupChains(`cover_${index}`, covers, toAccept, memory),
      chain(`out_${index}`, [
        ...special('drop'),
        `ct direction reply ct mark & ${hex(marks.mask)} == ${hex(mark)} accept`,
        // Conntrack knows a reply of a flow that is not this tunnel's: nothing that came out of it may join there. What it
        // makes nothing of (a false checksum, say) it does not masquerade either.
        `ct direction reply counter name uncovered_${index} drop`,
        `ct state invalid counter name uncovered_${index} drop`,
        `jump cover_${index}`,
        `counter name uncovered_${index} drop`
      ])
    ]
  })
}

/** What belongs to one link or to this host: rules with the given verdict. */
function special(verdict: 'accept' | 'drop'): string[] {
  const list = (networks: typeof SPECIAL_DESTINATIONS, family: Family): string =>
    networks
      .filter((network) => network.family === family)
      .map(formatPrefix)
      .join(', ')
  return [
    `ip daddr { ${list(SPECIAL_DESTINATIONS, 4)} } ${verdict}`,
    `ip6 daddr { ${list(SPECIAL_DESTINATIONS, 6)} } ${verdict}`,
    `ip saddr { ${list(SPECIAL_SOURCES, 4)} } ${verdict}`,
    `ip6 saddr { ${list(SPECIAL_SOURCES, 6)} } ${verdict}`
  ]
}

const ownDevices = ({ services, withDevice }: Steering): readonly SteeredService[] =>
  withDevice ?? services.filter(({ device }) => device != null)

function hooks(steering: Steering): NftObject[] {
  const { marks, table, tunnels: steeredTunnels, transparent, generalPort, draining } = steering
  const ours = `& ${hex(marks.mask)}`
  const syn = 'tcp flags & (fin | syn | rst | ack) == syn'
  const own = ownDevices(steering).filter(({ device }) => device != null && table.devices.includes(device))
  const verdicts = new VerdictMaps()
  const byTunnel = (name: string, chainOf: string): string[] =>
    verdicts.rule(
      'iifname',
      name,
      'ifname',
      steeredTunnels.map(({ index, device }) => `"${device}" : goto ${chainOf}_${index}`)
    )
  const replies = verdicts.rule(
    'ct direction reply ct zone',
    'tunnel_replies',
    'ct zone',
    steeredTunnels.map(({ index }) => `${marks.tunnelZone(index)} : goto reply_${index}`)
  )
  const fromTunnels = `ct zone ${marks.tunnelZone(1)}-${marks.tunnelZone(marks.tunnelsMax)}`

  const toListener = (port: number | null): string[] =>
    port == null
      ? [`meta mark ${ours} == ${hex(marks.tproxy)} accept`]
      : [
          `meta mark ${ours} == ${hex(marks.tproxy)} meta nfproto ipv4 meta l4proto tcp tproxy ip to 127.0.0.1:${port} accept`,
          `meta mark ${ours} == ${hex(marks.tproxy)} meta nfproto ipv6 meta l4proto tcp tproxy ip6 to [::1]:${port} accept`,
          // Nobody listens: the packet stays marked, and `unheard` answers with a reset.
          `meta mark ${ours} == ${hex(marks.tproxy)} accept`
        ]
  const leaveOld = [
    // TCP that is under way: to its intercepted socket or not at all. A service that is gone must not let the rest of an
    // intercepted flow out in the clear, so the conntrack mark decides even when the socket has died.
    `meta l4proto tcp ${syn.replace('==', '!=')} ct direction original ct mark ${ours} == ${hex(marks.tproxy)} ${setMark('meta', marks, marks.tproxy)} accept`,
    `meta l4proto tcp ${syn.replace('==', '!=')} accept`,
    'ct direction reply accept',
    'jump never'
  ]
  // Reused ports: a new connection must not inherit what an old one of the same addresses was.
  const forget = `${syn} ct mark ${ours} != 0 ct mark set ct mark & ${hex(marks.keep)}`

  // Answers to a connection made with a client's address. Also when its socket is gone: this host answers with a reset,
  // and nothing goes on to the client in the clear.
  const toDialler = `ct direction reply ct mark ${ours} == ${hex(marks.bypass)} ${setMark('meta', marks, marks.tproxy)} accept`
  const mine = (name: string, verdict: (service: SteeredService) => string): string[] => [
    ...verdicts.rule('ip saddr', `${name}4`, 'ipv4_addr', byAddress(own, 4, verdict)),
    ...verdicts.rule('ip6 saddr', `${name}6`, 'ipv6_addr', byAddress(own, 6, verdict))
  ]
  const take = draining
    ? []
    : [
        forget,
        'iifname "lo" jump enter_lo',
        ...verdicts.rule(
          'iifname',
          'entered_devices',
          'ifname',
          own.map(({ id, device }) => `"${device}" : jump enter_${id}`)
        ),
        `meta mark ${ours} != 0 iifname != "lo" accept`,
        'jump route',
        ...toListener(generalPort)
      ]
  const chains = [
    ...(draining
      ? []
      : own.map(({ id, device, port }) =>
          chain(`enter_${id}`, [`jump ${mapName('route', device)}`, ...toListener(port)])
        )),
    // What a program here has sent comes by once more, marked but without its listener's port: looked up anew.
    ...(draining
      ? []
      : [chain('enter_lo', [setMark('meta', marks, 0), ...mine('entered_by', ({ id }) => `jump enter_${id}`)])]),
    chain('never', [
      'fib daddr type { local, broadcast, anycast, multicast } accept',
      ...special('accept'),
      'ip daddr . meta l4proto . th dport @members4 accept',
      'ip6 daddr . meta l4proto . th dport @members6 accept'
    ]),
    ...(steeredTunnels.length === 0
      ? []
      : [hook('zones', 'filter', 'prerouting', 'raw', byTunnel('tunnel_zones', 'zone'))]),
    hook('prerouting', 'filter', 'prerouting', 'mangle', [
      ...byTunnel('tunnel_packets', 'out'),
      `meta mark ${ours} == ${hex(marks.bypass)} accept`,
      `${syn.replace('==', '!=')} socket transparent 1 socket wildcard 0 ${setMark('meta', marks, marks.tproxy)} accept`,
      ...(transparent ? [`iifname != "lo" ${toDialler}`] : []),
      ...replies,
      ...leaveOld,
      ...take
    ]),
    hook('output', 'route', 'output', 'mangle', [
      ...(transparent
        ? [
            `${syn} meta mark ${ours} == ${hex(marks.bypass)} fib saddr type != local ${setMark('ct', marks, marks.bypass)}`
          ]
        : []),
      `meta mark ${ours} == ${hex(marks.bypass)} accept`,
      ...(transparent ? [toDialler] : []),
      ...replies,
      ...leaveOld,
      ...(draining
        ? []
        : [
            forget,
            ...mine('sent_by', ({ device }) => `jump ${mapName('route', device)}`),
            `meta mark ${ours} != 0 accept`,
            'jump route'
          ])
    ]),
    // Intercepted TCP for which there is no socket: the engine is gone. The kernel's own reset would not come, since IPv4 sends
    // nothing of its own accord from an address that is not the host's.
    hook('unheard', 'filter', 'input', 'filter', [
      `meta mark ${ours} != ${hex(marks.tproxy)} accept`,
      'meta l4proto != tcp accept',
      'socket transparent 1 accept',
      'reject with tcp reset'
    ]),
    // Bytes to the client are counted where both the tunnel and the client's side are known.
    ...countReplies(steeredTunnels, own, draining, verdicts),
    hook('guard', 'filter', 'postrouting', 'mangle', [
      `meta mark ${ours} != { 0x0, ${hex(marks.bypass)} } meta mark ${ours} . oifname != @paths counter name guarded drop`,
      ...steeredTunnels.map(({ index, device }) => `ct direction reply oifname "${device}" goto cover_${index}_back`)
    ]),
    ...(steeredTunnels.length === 0
      ? []
      : [
          hook('clamp', 'filter', 'forward', 'mangle', [
            'iifname @tunnels tcp flags & (syn | rst) == syn tcp option maxseg size set rt mtu',
            'oifname @tunnels tcp flags & (syn | rst) == syn tcp option maxseg size set rt mtu'
          ]),
          hook('source_nat', 'nat', 'postrouting', 'srcnat', [`${fromTunnels} oifname != @tunnels masquerade`]),
          // The same for what is bound for this host itself: it takes the address it came to, or the answer would need a
          // way to the client in the main table before any hook could send it into the tunnel.
          hook('source_nat_local', 'nat', 'input', '100', [
            `${fromTunnels} meta nfproto ipv4 snat ip to ip daddr`,
            `${fromTunnels} meta nfproto ipv6 snat ip6 to ip6 daddr`
          ]),
          // No rule: its presence lets conntrack put the client's address back into those answers.
          hook('source_nat_answers', 'nat', 'output', '-100', [])
        ])
  ]
  return [...verdicts.maps, ...chains]
}

function countReplies(
  steeredTunnels: readonly SteeredTunnel[],
  own: readonly SteeredService[],
  draining: boolean,
  verdicts: VerdictMaps
): NftObject[] {
  if (steeredTunnels.length === 0 || draining) return []
  const devices = own.map(({ device }) => `"${device}" : goto ${mapName('route', device)}_back`)
  const mine = ([4, 6] as const).flatMap((family) => {
    const elements = byAddress(own, family, ({ device }) => `jump ${mapName('route', device)}_back`)
    const what = `ct direction reply iifname @tunnels ${family === 4 ? 'ip' : 'ip6'} daddr`
    return verdicts.rule(what, `received_by${family}`, `ipv${family}_addr`, elements)
  })
  return [
    chain('replied', [...verdicts.rule('oifname', 'replied_by', 'ifname', devices), 'goto route_back']),
    hook('count_forwarded', 'filter', 'forward', 'mangle', ['ct direction reply iifname @tunnels goto replied']),
    hook('count_received', 'filter', 'input', 'mangle', [
      ...mine,
      'ct direction reply iifname @tunnels goto route_back'
    ])
  ]
}

/** Elements of a verdict map by the addresses of services' devices; of two with one address the first has it. */
function byAddress(
  own: readonly SteeredService[],
  family: Family,
  verdict: (service: SteeredService) => string
): string[] {
  const elements = new Map<string, string>()
  for (const service of own) {
    for (const address of service.addresses.filter((one) => one.family === family)) {
      const text = formatAddress(address)
      if (!elements.has(text)) elements.set(text, `${text} : ${verdict(service)}`)
    }
  }
  return [...elements.values()]
}

/** Ids and device names become parts of the text: whatever is not a plain word here would be a way into the kernel. */
function assertName(name: string): void {
  if (!/^[A-Za-z0-9_-]{1,64}$/.test(name)) throw new TypeError(`"${name}" cannot be a name in the ruleset`)
}

const hook = (name: string, type: string, at: string, priority: string, rules: string[]): NftObject => ({
  kind: 'chain',
  name,
  hook: `type ${type} hook ${at} priority ${priority}; policy accept;`,
  rules
})
