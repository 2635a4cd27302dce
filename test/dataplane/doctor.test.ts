import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Check } from '../../src/dataplane/doctor/check.ts'
import {
  forwardDrops,
  inputDrops,
  markClashes,
  routingRuleClashes,
  tableClashes
} from '../../src/dataplane/doctor/clashes.ts'
import { forwarding, openFiles, reversePath, stateDirectory } from '../../src/dataplane/doctor/host-checks.ts'
import { readRuleset, writtenBits } from '../../src/dataplane/doctor/ruleset-reader.ts'
import type { IpRule } from '../../src/dataplane/ip.ts'
import { createMarks } from '../../src/dataplane/marks.ts'
import { Namespace, needsKernel } from './support/namespace.ts'

const marks = createMarks()
const OWN = 'inet arctic'

/** A ruleset with one chain of these rules, as `nft list ruleset` prints it. */
const ruleset = (chain: string, ...rules: string[]): string =>
  `table ip mangle {\n\tchain ${chain} {\n${rules.map((rule) => `\t\t${rule}\n`).join('')}\t}\n}\n`

const rule = (priority: number, more: Partial<IpRule> = {}): IpRule => ({
  priority,
  src: 'all',
  table: '52',
  protocol: '3',
  ...more
})

const HOST: IpRule[] = [
  { priority: 0, src: 'all', table: '255', protocol: '2' },
  { priority: 32766, src: 'all', table: '254', protocol: '2' },
  { priority: 32767, src: 'all', table: '253', protocol: '2' }
]

describe('doctor: the rules of others', () => {
  const bits: Array<[rule: string, bits: number | null]> = [
    ['accept', null],
    ['meta mark 0x00000001 accept', null],
    ['meta mark set 0x00000001', 0xffffffff],
    ['meta mark set meta mark | 0x00004000', 0x4000],
    ['meta mark set mark or 0x4000', 0xffffffff],
    ['counter packets 0 bytes 0 meta mark set meta mark or 0x8000 return', 0x8000],
    ['meta mark set meta mark & 0xff01ffff | 0x00010000', 0x00ff0000],
    ['ct mark set ct mark & 0xff00ffff', 0x00ff0000],
    ['ct mark set meta mark', null],
    ['meta mark set ct mark', null],
    ['meta mark set ct mark & 0x000000ff', 0xffffffff],
    ['xt target "MARK" MARK xset 0x40000/0xff0000', 0x00ff0000],
    ['counter MARK or set-xmark 0x1', 0xffffffff]
  ]
  for (const [text, expected] of bits) {
    it(`"${text}" writes ${expected == null ? 'no mark' : `the bits 0x${expected.toString(16)}`}`, () => {
      assert.equal(writtenBits(text), expected)
    })
  }

  it('are read table by table, ours left out, and whatever is odd is passed over', () => {
    const text = [
      'table inet arctic {',
      '\tchain prerouting {',
      '\t\tmeta mark set 0x02000000',
      '\t}',
      '}',
      'table ip filter {',
      '\tset x {',
      '\t\ttype ipv4_addr',
      '\t}',
      '\tchain FORWARD {',
      '\t\ttype filter hook forward priority filter; policy drop;',
      '\t\tjump DOCKER-USER',
      '\t}',
      '}',
      'odd {{{'
    ].join('\n')
    assert.deepEqual(readRuleset(text, OWN), {
      chains: ['ip filter FORWARD'],
      rules: [{ table: 'ip filter', chain: 'FORWARD', text: 'jump DOCKER-USER' }],
      forwardDrops: [{ table: 'ip filter', chain: 'FORWARD' }],
      inputDrops: []
    })
    assert.deepEqual(readRuleset('', OWN), { chains: [], rules: [], forwardDrops: [], inputDrops: [] })
  })

  const clashes: Array<[who: string, text: string, rules: IpRule[], status: Check['status'], found: RegExp]> = [
    ['nobody', '', HOST, 'ok', /^nobody else uses 0xff000000$/],
    [
      'Kubernetes',
      ruleset('KUBE-MARK-MASQ', 'meta mark set meta mark | 0x00004000'),
      HOST,
      'ok',
      /beside us: Kubernetes/
    ],
    [
      'Tailscale',
      ruleset('ts-forward', 'meta mark set meta mark & 0xff00ffff | 0x00040000'),
      [...HOST, rule(5210, { fwmark: '0x80000', fwmask: '0xff0000', table: '254' })],
      'ok',
      /beside us: Tailscale/
    ],
    [
      'Calico, whose mask is as wide as it comes',
      ruleset('cali-PREROUTING', 'accept'),
      HOST,
      'warn',
      /Calico \(0xffff0000\)/
    ],
    ['Cilium', ruleset('CILIUM_PRE_mangle', 'meta mark set meta mark & 0xffff00ff | 0x200'), HOST, 'ok', /Cilium/],
    [
      'Istio, which sets the whole mark',
      ruleset('ISTIO_PREROUTING', 'meta mark set 0x00000539'),
      HOST,
      'warn',
      /ISTIO_PREROUTING/
    ],
    [
      'NetBird',
      ruleset('netbird-mangle', 'meta mark set 0x0001bd00'),
      HOST,
      'warn',
      /netbird-mangle, writes into our bits/
    ],
    ['an exact mark of theirs', '', [...HOST, rule(100, { fwmark: '0x539' })], 'ok', /nobody/],
    [
      'an exact mark of ours',
      '',
      [...HOST, rule(100, { fwmark: '0x2000000' })],
      'fail',
      /"100: from all fwmark 0x2000000 lookup 52"/
    ],
    ['a mask over ours', '', [...HOST, rule(100, { fwmark: '0x1000000', fwmask: '0x1000000' })], 'fail', /our marks/],
    [
      'a mask that wants our bits zero',
      '',
      [...HOST, rule(100, { fwmark: '0x1', fwmask: '0xff000001' })],
      'ok',
      /nobody/
    ],
    ['our own rules', '', [...HOST, rule(7946, { fwmark: '0x2000000', protocol: '79' })], 'ok', /nobody/]
  ]
  for (const [who, text, rules, status, found] of clashes) {
    it(`marks beside ${who}: ${status}`, () => {
      const check = markClashes(readRuleset(text, OWN), rules, marks)
      assert.equal(check.status, status, check.found)
      assert.match(check.found, found)
      assert.equal(check.mend == null, status === 'ok')
    })
  }

  const before: Array<[what: string, rules: IpRule[], status: Check['status'], found: RegExp]> = [
    ['the host alone', HOST, 'ok', /none/],
    ['ours', [...HOST, rule(7946, { fwmark: '0x2000000', protocol: '79' })], 'ok', /none/],
    ['another one at our priority', [rule(7946)], 'warn', /our priority 7946/],
    ['Tailscale, before us for all', [...HOST, rule(5270)], 'warn', /"5270: from all lookup 52" is asked before/],
    ['Tailscale, for its own marks', [rule(5210, { fwmark: '0x80000', fwmask: '0xff0000' })], 'ok', /none/],
    [
      'NetBird, for all but its own',
      [rule(105, { not: null, fwmark: '0x1bd00', table: '7120' })],
      'warn',
      /not from all fwmark/
    ],
    ['a rule for one source', [rule(100, { src: '10.0.0.1' })], 'ok', /none/],
    ['a rule for one device', [rule(100, { iif: 'eth1' })], 'ok', /none/],
    ['wg-quick, after us', [rule(32764, { not: null, fwmark: '0xca6c' })], 'ok', /none/]
  ]
  for (const [what, rules, status, found] of before) {
    it(`policy routing with ${what}: ${status}`, () => {
      const check = routingRuleClashes(rules, marks)
      assert.equal(check.status, status, check.found)
      assert.match(check.found, found)
    })
  }

  it('tables with our numbers fail, by rule or by route', () => {
    assert.equal(tableClashes(HOST, [254, 52], marks).status, 'ok')
    assert.match(
      tableClashes([...HOST, rule(9, { table: '79465' })], [], marks).found,
      /routing table 79465, which is ours/
    )
    assert.equal(tableClashes(HOST, [79460], marks).status, 'fail')
    assert.equal(tableClashes(HOST, [79459, 79460 + 254], marks).status, 'ok')
  })

  it('that drop what is forwarded are named with the very commands that let us pass', () => {
    const docker = (rest: string): string =>
      `table ip filter {\n\tchain FORWARD {\n\t\ttype filter hook forward priority filter; policy drop;\n\t\tjump DOCKER-USER\n\t}\n\tchain DOCKER-USER {\n\t\t${rest}\n\t}\n}\n`
    const check = forwardDrops(readRuleset(docker('return'), OWN))
    assert.equal(check.status, 'warn')
    assert.match(check.mend ?? '', /^iptables -I DOCKER-USER -i arct-\+ -j ACCEPT/)
    assert.equal(forwardDrops(readRuleset(docker('iifname "arct-*" counter accept'), OWN)).status, 'ok')
    assert.equal(forwardDrops(readRuleset('', OWN)).status, 'ok')
  })
})

describe('doctor: a firewall in front of this host', () => {
  let host: Namespace
  before(needsKernel)
  before(() => void (host = new Namespace()))
  after(() => host?.remove())
  const checked = (): Check => inputDrops(readRuleset(host.run('nft', '-s', 'list', 'ruleset'), OWN), marks)

  for (const [how, rules] of [
    ['by policy', 'policy drop; tcp dport 22 accept'],
    ['by its last rule', 'policy accept; tcp dport 22 accept\ncounter reject with icmpx admin-prohibited']
  ] as const)
    it(`that refuses ${how} what it does not know is named, and what is to be done about it does it`, () => {
      const table = `table inet fw {\nchain input {\ntype filter hook input priority 0; ${rules}\n}\n}\n`
      host.input('nft', ['-f', '-'], `table inet fw\ndelete table inet fw\n${table}`)
      const { status, found, mend } = checked()
      assert.equal(status, 'warn')
      assert.match(found, /chain input of table inet fw/)
      host.run('sh', '-c', mend ?? 'false')
      assert.equal(checked().status, 'ok', checked().found)
    })

  it('that lets all but little pass is nothing to speak of', () => {
    const rules = 'policy accept; tcp dport 23 drop'
    const table = `table inet fw {\nchain input {\ntype filter hook input priority 0; ${rules}\n}\n}\n`
    host.input('nft', ['-f', '-'], `table inet fw\ndelete table inet fw\n${table}`)
    assert.equal(checked().status, 'ok')
  })

  it('of iptables is told in its own words', () => {
    const ip = 'table ip filter {\n\tchain INPUT {\n\t\ttype filter hook input priority filter; policy drop;\n\t}\n}\n'
    const { mend } = inputDrops(readRuleset(ip, OWN), marks)
    assert.equal(mend, 'iptables -I INPUT -m mark --mark 0x02000000/0xff000000 -j ACCEPT')
  })
})

describe('doctor: figures of the host', () => {
  const cases: Array<[name: string, check: Check, status: Check['status'], said: RegExp]> = [
    [
      'no strict filter',
      reversePath(
        new Map([
          ['all', '2'],
          ['eth0', '0']
        ])
      ),
      'ok',
      /not strict/
    ],
    [
      'strict everywhere',
      reversePath(
        new Map([
          ['all', '1'],
          ['lo', '0']
        ])
      ),
      'warn',
      /conf\.all\.rp_filter=2/
    ],
    [
      'strict on one',
      reversePath(
        new Map([
          ['all', '0'],
          ['eth1', '1']
        ])
      ),
      'warn',
      /conf\.eth1\.rp_filter=2/
    ],
    ['forwards', forwarding('1', '1'), 'ok', /forwards/],
    ['forwards, without IPv6', forwarding('1', null), 'ok', /forwards/],
    ['does not forward', forwarding('0', '1'), 'warn', /sysctl -w net\.ipv4\.ip_forward=1, if/],
    ['forwards neither', forwarding('0', '0'), 'warn', /ip_forward and net\.ipv6\.conf\.all\.forwarding is 0/],
    ['a directory that is gone', stateDirectory('/s', { error: 'ENOENT' }), 'fail', /\/s cannot be used \(ENOENT\)/],
    ['a full disk', stateDirectory('/s', { freeBytes: 1 }), 'fail', /make room/],
    ['a disk that is nearly full', stateDirectory('/s', { freeBytes: 100 * 2 ** 20 }), 'warn', /100 MiB free/],
    ['a disk', stateDirectory('/s', { freeBytes: 2 ** 34 }), 'ok', /16384 MiB free/],
    [
      'few files',
      openFiles('Max open files            1024                 4096                 files'),
      'warn',
      /some 2048 TCP/
    ],
    [
      'enough files',
      openFiles('Max open files            1024                 1048576              files'),
      'ok',
      /1048576/
    ],
    [
      'no limit of files',
      openFiles('Max open files            unlimited            unlimited            files'),
      'ok',
      /unlimited/
    ]
  ]
  for (const [name, check, status, said] of cases) {
    it(`${name}: ${status}`, () => {
      assert.equal(check.status, status, check.found)
      assert.match(`${check.found}; ${check.mend}`, said)
    })
  }
})

describe('doctor: a real host without an agent', function () {
  this.timeout(60_000)
  this.slow(10_000)
  let host: Namespace
  let stateDir: string
  before(needsKernel)
  beforeEach(() => {
    host = new Namespace()
    stateDir = mkdtempSync(join(tmpdir(), 'arctic-doctor-'))
  })
  afterEach(() => {
    host.remove()
    rmSync(stateDir, { recursive: true, force: true })
  })

  function doctor(directory = stateDir): { exit: number | null; checks: Map<string, Check>; text: string } {
    const args = ['netns', 'exec', host.name, 'bin/arctic', 'doctor', '-j', '--socket', join(stateDir, 'none.sock')]
    const env = { ...process.env, ARCTIC_STATE_DIR: directory }
    const { status, stdout, stderr } = spawnSync('ip', args, { encoding: 'utf8', env, timeout: 50_000 })
    assert.equal(stderr, '')
    const { ok, checks } = JSON.parse(stdout) as { ok: boolean; checks: Check[] }
    assert.equal(status, ok ? 0 : 1)
    return { exit: status, checks: new Map(checks.map((check) => [check.name, check])), text: stdout }
  }

  it('that is fit is told so, and is left as it was', () => {
    host.sysctl('net.ipv4.ip_forward', '1')
    host.sysctl('net.ipv6.conf.all.forwarding', '1')
    const before = host.snapshot()
    const { exit, checks, text } = doctor()
    assert.equal(exit, 0, text)
    const wrong = [...checks.values()].filter(({ status }) => status !== 'ok').map(({ name }) => name)
    assert.deepEqual(wrong, ['agent'])
    for (const name of ['nftables TPROXY (nft_tproxy)', 'TUN devices', 'MACVLAN devices', 'port 0.0.0.0:7948 (udp)']) {
      assert.ok(checks.has(name), name)
    }
    assert.match(checks.get('agent')?.mend ?? '', /arctic agent/)
    assert.equal(host.snapshot(), before)
    const fresh = doctor(join(stateDir, 'not', 'made', 'yet')).checks.get('state directory')
    assert.equal(fresh?.status, 'ok', fresh?.found)
    const file = doctor(join(process.execPath, 'state')).checks.get('state directory')
    assert.equal(file?.status, 'fail', file?.found)
  })

  it('with clashing rules, strict filters and taken ports is diagnosed, with what to do about each', async () => {
    host.ip('rule add fwmark 0x2000000/0xff000000 lookup 100 priority 100', 'rule add lookup 52 priority 5270')
    host.ip('route add unreachable 10.9.0.0/16 table 79461')
    for (const device of ['all', 'lo']) host.sysctl(`net.ipv4.conf.${device}.rp_filter`, '1')
    host.sysctl('net.ipv4.ip_forward', '0')
    host.input(
      'nft',
      ['-f', '-'],
      'table ip filter {\nchain FORWARD {\ntype filter hook forward priority 0; policy drop;\n}\n}\n'
    )
    const taken = host.spawn(process.execPath, [
      '-e',
      "require('net').createServer().listen(7947, '0.0.0.0', () => console.log('up')); process.stdin.resume()"
    ])
    await new Promise((resolve) => taken.stdout?.once('data', resolve))
    const { exit, checks, text } = doctor()
    assert.equal(exit, 1)
    const expected: Array<[name: string, status: Check['status'], mend: RegExp]> = [
      ['packet marks', 'fail', /ip rule del priority 100/],
      ['ip rules', 'warn', /table 100/],
      ['routing tables', 'fail', /table 79461/],
      ['reverse-path filter', 'warn', /net\.ipv4\.conf\.all\.rp_filter=2/],
      ['forwarding', 'warn', /net\.ipv4\.ip_forward=1/],
      ['forwarding policy', 'warn', /FORWARD -i arct-\+/],
      ['port 0.0.0.0:7947 (tcp)', 'fail', /ss -ltnp/]
    ]
    for (const [name, status, mend] of expected) {
      const check = checks.get(name)
      assert.equal(check?.status, status, `${name}: ${text}`)
      assert.match(check?.mend ?? '', mend)
    }
    assert.equal(checks.get('port 0.0.0.0:7947 (udp)')?.status, 'ok')
    taken.kill('SIGKILL')
  })
})
