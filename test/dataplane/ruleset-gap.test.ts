import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, it, before, beforeEach, afterEach } from 'mocha'
import { systemClock } from '../../src/clock.ts'
import { createMarks, hex } from '../../src/dataplane/marks.ts'
import { nft } from '../../src/dataplane/nft.ts'
import { CHANGES, NftSession } from '../../src/dataplane/nft-session.ts'
import { compile, type RouteTable } from '../../src/dataplane/route-table.ts'
import { chain, type NftObject } from '../../src/dataplane/ruleset-objects.ts'
import { overlayText, refillText } from '../../src/dataplane/ruleset-refill.ts'
import { rulesetObjects, tableText } from '../../src/dataplane/ruleset.ts'
import { Namespace, needsKernel, wire } from './support/namespace.ts'
import { route, serviceId } from './support/states.ts'

const FLOOD = fileURLToPath(new URL('support/flood.ts', import.meta.url))
const marks = createMarks()
const [general, bound, covered] = [serviceId(1), serviceId(2), serviceId(3)]

const takes = (id: string, device: string | null, destCidr: string): RouteTable =>
  compile([{ id, device, routes: [route(1, id, { destCidr })] }], { own: [], attached: [] })

const ruleset = rulesetObjects({
  marks,
  table: compile(
    [
      { id: general, device: null, routes: [route(1, general, { destCidr: '10.2.0.0/24' })] },
      { id: bound, device: 'dev0', routes: [route(2, bound, { destCidr: '10.4.0.0/24' })] }
    ],
    { own: [], attached: [] }
  ),
  services: [
    { id: general, device: null, addresses: [], tunnel: 1, port: null },
    { id: bound, device: 'dev0', addresses: [], tunnel: 1, port: 4001 }
  ],
  tunnels: [{ index: 1, device: 'tun1', covers: takes(covered, null, '10.3.0.0/24') }],
  members: [],
  transparent: false,
  generalPort: 4000,
  draining: false
})

/** Rules in front that say nothing of any packet and take long: at any moment some packet is on its way through the rules. */
const idle: NftObject[] = [
  chain('idle0', Array<string>(16).fill('meta mark 0xfedcba98 accept')),
  ...[1, 2].map((n) => chain(`idle${n}`, Array<string>(8).fill(`jump idle${n - 1}`)))
]
const slowed = ['zones', 'prerouting', 'output']
const wanted = [
  ...idle,
  ...ruleset.map((object) =>
    object.kind === 'chain' && slowed.includes(object.name)
      ? { ...object, rules: ['jump idle2', ...object.rules] }
      : object
  )
]
/** The same as an older build has it: what has elements is written into the rule that asks it. The maps stay, for the way back. */
function nameless(objects: readonly NftObject[]): NftObject[] {
  const elements = new Map(objects.flatMap((one) => (one.kind === 'map' ? [[one.name, one.elements]] : [])))
  const inline = (rule: string): string =>
    rule.replace(/vmap @(\w+)/, (_, name: string) => `vmap { ${elements.get(name)?.join(', ')} }`)
  return objects.map((object) => (object.kind === 'chain' ? { ...object, rules: object.rules.map(inline) } : object))
}

const inTunnel = `meta mark & ${hex(marks.mask)} == ${hex(marks.tunnel(1))}`
/** Packets, who sends them, and how they are behind the ruleset. */
const ways = [
  {
    name: 'taken',
    by: 'client',
    from: '192.168.9.2:5001',
    to: '10.2.0.9:9',
    at: 'prerouting',
    enters: 'eth0',
    right: inTunnel
  },
  {
    name: 'bound',
    by: 'client',
    from: '192.168.8.2:5002',
    to: '10.4.0.9:9',
    at: 'prerouting',
    enters: 'dev0',
    right: inTunnel
  },
  { name: 'own', by: 'edge', from: '192.168.9.1:5003', to: '10.2.0.9:9', at: 'output', enters: null, right: inTunnel },
  {
    name: 'covered',
    by: 'client',
    from: '10.1.0.2:5004',
    to: '10.3.0.9:9',
    at: 'prerouting',
    enters: 'tun1',
    right: `ct zone ${marks.tunnelZone(1)}`
  },
  {
    name: 'reply',
    by: 'server',
    from: '10.3.0.9:9',
    to: '10.3.0.1:5005',
    at: 'prerouting',
    enters: 's1',
    right: inTunnel
  }
] as const

/** Counts packets before and behind the ruleset: all that come, and those that are as they should be. */
function observer(): string {
  const rules = (hook: string, behind: boolean): string[] =>
    ways.flatMap(({ name, to, at, enters, right }) => {
      const which = `${enters == null ? '' : `iifname "${enters}" `}ip daddr ${to.split(':')[0]}`
      return at === hook ? [`${which} ${behind ? right : ''} counter name ${name}_${behind ? 'right' : 'all'}`] : []
    })
  const chains = ['prerouting', 'output'].flatMap((hook) =>
    [-310, -149].map((priority) => {
      const behind = priority === -149
      const lines = [`type filter hook ${hook} priority ${priority}; policy accept;`, ...rules(hook, behind)]
      return ` chain ${hook}_${behind ? 'behind' : 'before'} {\n${lines.map((line) => `  ${line}\n`).join('')} }\n`
    })
  )
  const counters = ways.flatMap(({ name }) => [`${name}_all`, `${name}_right`]).map((name) => ` counter ${name} { }\n`)
  return `table inet seen {\n${[...counters, ...chains].join('')}}\n`
}

describe('a ruleset that is loaded anew', function () {
  this.timeout(60_000)
  this.slow(20_000)
  const hosts: { client?: Namespace; edge?: Namespace; server?: Namespace } = {}
  let dir: string

  before(needsKernel)
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'dpt-'))
    const [client, edge, server] = [new Namespace(), new Namespace(), new Namespace()]
    Object.assign(hosts, { client, edge, server })
    wire(client, 'c0', ['192.168.9.2/30'], edge, 'eth0', ['192.168.9.1/30'])
    wire(client, 'c1', ['192.168.8.2/30'], edge, 'dev0', ['192.168.8.1/30'])
    // A wire stands in for the tunnel: what matters is the device a packet comes out of.
    wire(client, 't0', ['10.1.0.2/24'], edge, 'tun1', [])
    wire(server, 's0', ['10.3.0.9/24'], edge, 's1', ['10.3.0.1/24'])
    edge.run('sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv4.conf.tun1.proxy_arp=1')
    client.ip('route add 10.2.0.0/24 via 192.168.9.1', 'route add 10.4.0.0/24 via 192.168.8.1')
    client.ip('route add 10.3.0.0/24 dev t0')
    edge.ip('route add 10.2.0.0/24 via 192.168.9.2', 'route add 10.1.0.0/24 dev tun1')
    edge.input('nft', ['-f', '-'], tableText(wanted))
    // Who has a neighbour's address to learn sends its first packets later than it says.
    client.run('ping', '-c1', '-W3', '10.3.0.9')
  })
  afterEach(() => {
    for (const ns of Object.values(hosts)) ns.remove()
    rmSync(dir, { recursive: true })
  })

  it('lets no packet by that is on its way meanwhile', async () => {
    const listing = listed()
    const script = refillText(listing, wanted) ?? assert.fail('it would be replaced')
    await lettingNothingBy([script], 50)
  })

  it('lets none by either when an older build has left maps without names, which go with their rules', async () => {
    const { edge } = hosts as Required<typeof hosts>
    const older = nameless(wanted)
    const load = (text: string | null): string => {
      const script = text ?? assert.fail('it would be replaced')
      edge.input('nft', ['-f', '-'], script)
      return script
    }
    const toOlder = load(refillText(listed(), older))
    assert.match(listed(), /vmap \{/)
    const overlay = load(overlayText(listed(), wanted))
    const rest = load(refillText(listed(), wanted))
    assert.doesNotMatch(listed(), /vmap \{/)
    assert.equal(overlayText(listed(), wanted), null)
    const filled = listed()
    load(tableText(wanted))
    assert.equal(filled, listed())
    await lettingNothingBy([toOlder, overlay, rest], 20)
  })

  const listed = (): string => hosts.edge!.run('nft', '-s', 'list', 'table', 'inet', 'arctic').trimEnd()

  /** Loads these one after the other, again and again, while packets are on all ways. */
  async function lettingNothingBy(scripts: readonly string[], timesMin: number): Promise<void> {
    const { edge } = hosts as Required<typeof hosts>
    const send = async (ns: Namespace, from: string, to: string) => {
      const child = ns.spawn(process.execPath, [FLOOD, ...from.split(':'), ...to.split(':')])
      await once(child.stdout!, 'data')
      return child
    }
    const end = async (child: Awaited<ReturnType<typeof send>>): Promise<void> => {
      const ended = once(child, 'close')
      child.stdin!.end()
      await ended
    }
    // What goes back into the tunnel answers this.
    await end(await send(hosts.client!, '10.1.0.2:5005', '10.3.0.9:9'))
    edge.input('nft', ['-f', '-'], observer())
    const senders = await Promise.all(ways.map(({ by, from, to }) => send(hosts[by]!, from, to)))

    const files = scripts.map((_, i) => join(dir, `ruleset${i}`))
    for (const [i, script] of scripts.entries()) writeFileSync(files[i]!, script)
    const argv = ['ip', 'netns', 'exec', edge.name, ...CHANGES.argv] as const
    const changes = new NftSession(systemClock, { ...CHANGES, argv })
    const until = performance.now() + 8_000
    let times = 0
    for (; times < timesMin || performance.now() < until; times++)
      for (const file of files) await nft.change(changes, [`include "${file}"`])
    await changes.close()
    await Promise.all(senders.map(end))

    const counters = edge.run('nft', 'list', 'counters', 'table', 'inet', 'seen')
    const counted = (name: string): number => Number(new RegExp(`${name} \\{\\s+packets (\\d+)`).exec(counters)?.[1])
    const escaped = ways.map(({ name }) => [name, counted(`${name}_all`) - counted(`${name}_right`)])
    const all = ways.map(({ name }) => counted(`${name}_all`))
    assert.ok(
      all.every((packets) => packets > 500),
      `packets ${all.join()}`
    )
    assert.deepEqual(
      escaped,
      ways.map(({ name }) => [name, 0]),
      `${times} times, packets ${all.join()}`
    )
  }
})
