import assert from 'node:assert/strict'
import { labFor } from '../../lab/for-tests.ts'
import type { Host } from '../../lab/host.ts'
import type { Lab } from '../../lab/lab.ts'
import { snapshotDiff, snapshotHost, type Snapshot } from '../../lab/snapshot.ts'

const OTHERS = 'table inet others {\n chain c {\n type filter hook input priority 0\n counter\n }\n}\n'

describe('lab: snapshots of a host', function () {
  this.timeout(20_000)
  let lab: Lab
  let host: Host
  let before_: Snapshot

  before(async function () {
    lab = await labFor(this, 'labsnap')
    host = await lab.host('h')
    const peer = await lab.host('p')
    await lab.wire(
      { host, device: 'eth0', addresses: ['10.5.0.1/24', 'fd00:5::1/64'] },
      { host: peer, device: 'eth0', addresses: ['10.5.0.2/24', 'fd00:5::2/64'] }
    )
    await host.exec(['nft', '-f', '-'], { input: OTHERS })
    before_ = await snapshotHost(host)
  })
  after(() => lab?.close())

  it('two of a quiet host are equal', async () => {
    assert.deepEqual(snapshotDiff(before_, await snapshotHost(host)), [])
  })

  const changes: Array<[what: string, make: string, undo: string, seen: RegExp]> = [
    ['a table', 'nft add table inet ours', 'nft delete table inet ours', /^nftables: \+ table inet ours/],
    ['a rule', 'ip rule add fwmark 7 lookup 77', 'ip rule del fwmark 7', /^rules: \+ .*fwmark 0x7 lookup 77/],
    ['an IPv6 rule', 'ip -6 rule add fwmark 7 lookup 77', 'ip -6 rule del fwmark 7', /^rules6: \+ /],
    [
      'a route',
      'ip route add local default dev lo table 77',
      'ip route del local default dev lo table 77',
      /^routes: \+ local default dev lo table 77/
    ],
    [
      'an IPv6 route',
      'ip -6 route add unreachable fd00:7::/64',
      'ip -6 route del unreachable fd00:7::/64',
      /^routes6: \+ /
    ],
    ['a device', 'ip link add mv0 link eth0 type macvlan', 'ip link del mv0', /^links: \+ .*mv0@eth0/],
    [
      'an address',
      'ip addr add 10.5.0.9/32 dev lo',
      'ip addr del 10.5.0.9/32 dev lo',
      /^addresses: \+ lo .*10\.5\.0\.9\/32/
    ],
    [
      'a sysctl',
      'sysctl -qw net.ipv4.conf.eth0.rp_filter=1',
      'sysctl -qw net.ipv4.conf.eth0.rp_filter=2',
      /^sysctls: \+ .*eth0\/rp_filter:1/
    ]
  ]
  for (const [what, make, undo, seen] of changes) {
    it(`shows ${what} that was added, and nothing once it is gone`, async () => {
      await host.exec(make.split(' '))
      const diff = snapshotDiff(before_, await snapshotHost(host))
      assert.ok(
        diff.some((line) => seen.test(line)),
        diff.join('\n')
      )
      await host.exec(undo.split(' '))
      assert.deepEqual(snapshotDiff(before_, await snapshotHost(host)), [])
    })
  }
})
