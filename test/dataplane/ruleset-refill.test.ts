import assert from 'node:assert/strict'
import * as fc from 'fast-check'
import { describe, it, before, beforeEach, afterEach } from 'mocha'
import { overlayText, refillText } from '../../src/dataplane/ruleset-refill.ts'
import { rulesetObjects, tableText } from '../../src/dataplane/ruleset.ts'
import { listed } from './support/listed.ts'
import { Namespace, needsKernel } from './support/namespace.ts'
import { route, serviceId } from './support/states.ts'
import { steering, steerings } from './support/steerings.ts'

const wanted = rulesetObjects(
  steering([{ id: serviceId(1), device: null, routes: [route(1, serviceId(1), { destCidr: '10.2.0.0/24' })] }])
)

const load = (ns: Namespace, script: string): string => ns.input('nft', ['-f', '-'], script)
const listing = (ns: Namespace): string => ns.run('nft', '-s', 'list', 'table', 'inet', 'arctic').trimEnd()
const handleOf = (ns: Namespace): string | undefined =>
  /table inet arctic \{ # handle (\d+)/.exec(ns.run('nft', '-a', 'list', 'table', 'inet', 'arctic'))?.[1]

/** What other hands, or other builds, leave in the table. */
const foreign = [
  ['add chain inet arctic theirs', 'add rule inet arctic theirs jump never'],
  ['add chain inet arctic hooked { type filter hook forward priority 7; policy accept; comment "theirs"; }'],
  ['add rule inet arctic prerouting counter accept'],
  ['insert rule inet arctic never ip daddr { 10.0.0.1, 10.0.0.2 } drop'],
  ['insert rule inet arctic prerouting meta nfproto vmap { ipv4 : drop, ipv6 : accept }'],
  ['flush chain inet arctic prerouting'],
  ['flush table inet arctic'],
  ['flush set inet arctic paths'],
  ['add element inet arctic paths { 0x7 . "theirs" }'],
  [
    'add set inet arctic their_set { type ipv4_addr; flags interval; elements = { 10.0.0.0/8, 11.0.0.0/9, 12.0.0.0/10, 13.0.0.1 }; }',
    'add rule inet arctic never ip saddr @their_set drop'
  ],
  [
    'add chain inet arctic to_theirs',
    'add map inet arctic their_map { type ipv4_addr : verdict; elements = { 10.0.0.1 : goto to_theirs }; }',
    'add rule inet arctic never ip saddr vmap @their_map'
  ],
  ['add counter inet arctic their_counter', 'add rule inet arctic never counter name their_counter']
]

describe('dataplane/ruleset-refill', function () {
  this.timeout(60_000)
  this.slow(20_000)
  let ns: Namespace
  before(needsKernel)
  beforeEach(() => {
    ns = new Namespace()
  })
  afterEach(() => ns.remove())

  it('comes to the table that is loaded whole, whatever of ours and of others is there, and keeps it and its counters', () => {
    const property = fc.property(steerings, steerings, fc.shuffledSubarray(foreign), (there, next, others) => {
      const [old, objects] = [rulesetObjects(there), rulesetObjects(next)]
      const before = new Set(old.flatMap(({ kind, name }) => (kind === 'counter' ? [name] : [])))
      const seven = new Map([...before].map((name) => [name, { packets: 7, bytes: 70 }]))
      load(ns, tableText(old, seven))
      const handle = handleOf(ns)
      for (const commands of others) load(ns, `${commands.join('\n')}\n`)
      const overlay = overlayText(listing(ns), objects)
      if (overlay != null) load(ns, overlay)
      const script = refillText(listing(ns), objects) ?? assert.fail('it would be replaced')
      load(ns, script)
      assert.equal(handleOf(ns), handle)
      const counters = ns.run('nft', 'list', 'counters', 'table', 'inet', 'arctic')
      for (const { kind, name } of objects) {
        if (kind !== 'counter') continue
        const [, packets] = new RegExp(`counter ${name} \\{\\s+packets (\\d+)`).exec(counters) ?? []
        assert.equal(packets, before.has(name) ? '7' : '0', name)
      }
      const refilled = listed(ns)
      load(ns, tableText(objects))
      assert.deepEqual(refilled, listed(ns))
    })
    fc.assert(property, { numRuns: 25 })
  })

  it('is of no use where a name stands for something else, or nft tells of what is not made here', () => {
    const change: Array<[commands: string[], fits: boolean]> = [
      [[], true],
      [['add quota inet arctic q { 5 bytes }'], false],
      [['add table inet arctic { flags dormant; }'], false],
      [['delete set inet arctic members6', 'add set inet arctic members6 { type ipv6_addr; }'], false],
      [
        [
          'delete set inet arctic members6',
          'add map inet arctic members6 { type ipv6_addr . inet_proto . inet_service : verdict; }'
        ],
        false
      ],
      [
        [
          'delete set inet arctic members6',
          'add set inet arctic members6 { type ipv6_addr . inet_proto . inet_service; flags timeout; }'
        ],
        false
      ],
      [
        [
          'delete chain inet arctic guard',
          'add chain inet arctic guard { type filter hook postrouting priority -149; }'
        ],
        false
      ],
      [['delete chain inet arctic guard', 'add chain inet arctic guard'], false],
      [['add chain inet arctic guard { policy drop; }'], false]
    ]
    for (const [commands, fits] of change) {
      load(ns, tableText(wanted))
      load(ns, ['flush table inet arctic', ...commands, ''].join('\n'))
      assert.equal(refillText(listing(ns), wanted) != null, fits, commands.join('; '))
    }
    for (const cut of ['', 'table inet arctic {', 'table inet other {\n}', listing(ns).slice(0, -1)])
      assert.equal(refillText(cut, wanted), null)
  })

  it('knows a hook again whether nft writes its priority as a name or as a number', () => {
    load(ns, tableText(wanted))
    const names: Array<[string, string]> = [
      ['mangle', '-150'],
      ['raw', '-300'],
      ['srcnat', '100'],
      ['filter', '0']
    ]
    let text = listing(ns)
    for (const [name, number] of names) {
      assert.ok(text.includes(`priority ${name};`), name)
      text = text.replaceAll(`priority ${name};`, `priority ${number};`)
    }
    assert.notEqual(refillText(text, wanted), null)
    assert.notEqual(refillText(text.replaceAll('priority -100;', 'priority dstnat;'), wanted), null)
  })
})
