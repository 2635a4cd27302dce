import assert from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import * as fc from 'fast-check'
import type { ActivityJson } from '../../src/actors/operator/activity.ts'
import { Client } from '../../src/api/cli/client.ts'
import { SECTIONS } from '../../src/api/cli/top/columns.ts'
import { difference, enterScreen, leaveScreen } from '../../src/api/cli/top/draw.ts'
import { modelOf, type Model } from '../../src/api/cli/top/rates.ts'
import { screenOf } from '../../src/api/cli/top/screen.ts'
import { runTop } from '../../src/api/cli/top/session.ts'
import { firstView, keysOf, onKey, sortedBy, type View } from '../../src/api/cli/top/view.ts'
import { cut, widthOf } from '../../src/api/cli/top/width.ts'
import { systemClock } from '../../src/clock.ts'
import { ApiHost } from './api-host.ts'
import { EDGE_A, EDGE_B } from './memory-operator.ts'

const AT = '2026-01-01T00:01:00.000Z'
const NOW = Date.parse(AT)

const service = (
  n: number,
  more: Partial<ActivityJson['services'][number]> = {}
): ActivityJson['services'][number] => ({
  id: `01J000000000000000000000${n}`,
  name: `web-${n}`,
  role: 'source',
  peer_id: EDGE_B,
  peer_name: 'edge-b',
  phase: 'active',
  flows: n,
  bytes_in: 1024 * n,
  bytes_out: 0,
  ...more
})
const activity = (more: Partial<ActivityJson> = {}): ActivityJson => ({
  at: AT,
  peer_id: EDGE_A,
  peer_name: 'edge-a',
  uptime_seconds: 75,
  services: [service(1), service(2, { phase: 'degraded' })],
  services_left_out: 0,
  tunnels: [
    {
      peer_id: EDGE_B,
      peer_name: 'edge-b',
      device: 'arct-1',
      endpoint: '192.0.2.1:7947',
      handshake_at: '2026-01-01T00:00:30.000Z',
      bytes_in: 10,
      bytes_out: 20
    }
  ],
  flows: [],
  actors: { total: 9, kinds: [{ kind: 'service', state: 'degraded', count: 1 }], latest: [] },
  ...more
})
const model = (more: Partial<ActivityJson> = {}): Model => modelOf({ activity: activity(more), at: 0 }, null)
const options = { now: NOW, colours: false }
const shown = (view: View, size = { columns: 120, rows: 40 }, what = model()): string =>
  screenOf(what, view, size, options).join('\n')

describe('cli: top', function () {
  this.timeout(10_000)

  it('makes rates of two samples, and none where a counter began anew or is new', () => {
    const before = { activity: activity(), at: 1_000 }
    const services = [service(1, { bytes_in: 3072, bytes_out: 500 }), service(2, { bytes_in: 0 }), service(3)]
    const { services: rated } = modelOf({ activity: activity({ services }), at: 3_000 }, before)
    assert.deepEqual(
      rated.map(({ rate_in, rate_out }) => [rate_in, rate_out]),
      [
        [1024, 250],
        [null, 0],
        [null, null]
      ]
    )
  })

  it('shows open flows first, with rates, and those that have ended without', () => {
    const flow = (client: string, reason: string, bytes_in: number): ActivityJson['flows'][number] => ({
      at: reason === 'open' ? '2025-12-31T00:00:00.000Z' : AT,
      service_id: service(1).id,
      service_name: 'web',
      side: 'source',
      client,
      destination: '10.2.0.2:80',
      bytes_in,
      bytes_out: 0,
      duration_ms: 5,
      reason
    })
    const flows = (bytes: number): ActivityJson['flows'] => [flow('c:2', 'closed', bytes), flow('c:1', 'open', bytes)]
    const before = { activity: activity({ flows: flows(0) }), at: 0 }
    const what = modelOf({ activity: activity({ flows: flows(2048) }), at: 1_000 }, before)
    const lines = shown({ ...firstView, section: 'flows' }, { columns: 200, rows: 6 }, what).split('\n')
    assert.match(lines[2]!, /c:1 +10\.2\.0\.2:80 +open +2\.0 KiB\/s /)
    assert.match(lines[3]!, /c:2 +10\.2\.0\.2:80 +closed +- /)
  })

  it('shows all tables where there is room, and the chosen one where there is little', () => {
    const large = shown(firstView)
    assert.match(
      large,
      /^arctic top {2}edge-a {2}up 1m 15s {2}2 services {2}3 flows .* 1 tunnels {2}9 actors, 1 in trouble$/m
    )
    assert.match(large, /^SERVICE +AS +PEER +PHASE +FLOWS +IN\/s +OUT\/s▼ +IN +OUT$/m)
    assert.match(large, /^web-2 +source +edge-b +degraded +2 +- +- +2\.0 KiB +0 B$/m)
    assert.match(large, /^edge-b +arct-1 +192\.0\.2\.1:7947 +30s/m)
    for (const head of [/^SINCE▼ +FLOW/m, /^MOVED▼ +ACTOR/m, /^q quit/m]) assert.match(large, head)
    const small = shown({ ...firstView, section: 'tunnels' }, { columns: 60, rows: 10 })
    assert.match(small, /^TUNNEL/m)
    assert.doesNotMatch(small, /^SERVICE/m)
  })

  it('sorts by any column, both ways, and keeps the last page full', () => {
    const order = (view: View, size?: { columns: number; rows: number }): string[] =>
      [...shown(view, size, many).matchAll(/^web-\d+/gm)].map(([name]) => name)
    const many = model({ services: Array.from({ length: 9 }, (_, i) => service(i)) })
    const byFlows = sortedBy(firstView, 'flows')!
    assert.deepEqual(order(byFlows).slice(0, 3), ['web-8', 'web-7', 'web-6'])
    assert.deepEqual(order(onKey(byFlows, 'r', 5) as View).slice(0, 2), ['web-0', 'web-1'])
    assert.deepEqual(order({ ...byFlows, offset: 999 }, { columns: 80, rows: 6 }), ['web-2', 'web-1', 'web-0'])
    assert.equal(sortedBy(firstView, 'handshake')?.section, 'tunnels')
    assert.equal(sortedBy(firstView, 'bogus'), null)
  })

  it('does what each key says, and nothing for the others', () => {
    const press = (keys: string): View | 'quit' =>
      keysOf(keys).reduce<View | 'quit'>((view, key) => (view === 'quit' ? view : onKey(view, key, 10)), firstView)
    for (const [keys, expected] of [
      ['\t', { section: 'tunnels' }],
      ['\t\t\t\t', { section: 'services' }],
      ['\u001B[Z', { section: 'actors' }],
      ['3', { section: 'flows' }],
      ['p', { paused: true }],
      ['p ', { paused: false }],
      ['jjk', { offset: 1 }],
      ['\u001B[6~\u001B[A', { offset: 9 }],
      ['kk', { offset: 0 }],
      ['jjj2', { section: 'tunnels', offset: 0 }],
      ['é\u001B[99~x', {}]
    ] as const) {
      assert.deepEqual(press(keys), { ...firstView, ...expected }, JSON.stringify(keys))
    }
    for (const keys of ['q', '\u0003', 'jq']) assert.equal(press(keys), 'quit')
    for (let i = 0, view = firstView; i < 20; i++) view = onKey(view, 's', 10) as View
    assert.equal((press('s') as View).sort.services.column, 7)
    assert.equal((press('<') as View).sort.services.column, 5)
  })

  const anyView = fc.record({
    section: fc.constantFrom(...SECTIONS),
    offset: fc.nat(50),
    paused: fc.boolean(),
    sort: fc.constant(firstView.sort)
  })
  const anySize = fc.record({ columns: fc.integer({ min: 0, max: 150 }), rows: fc.integer({ min: 0, max: 60 }) })
  const anyName = fc.string({ unit: 'grapheme', maxLength: 30 })

  it('fits any terminal, whatever names are like', () => {
    fc.assert(
      fc.property(anyView, anySize, fc.array(anyName, { maxLength: 60 }), (view, size, names) => {
        const what = model({
          services: names.map((name, i) => service(i, { name, peer_name: name })),
          peer_name: names[0] ?? null
        })
        const lines = screenOf(what, view, size, { ...options, trouble: names[1] ?? null })
        assert.ok(lines.length <= size.rows)
        for (const line of lines) assert.ok(widthOf(line) <= size.columns, JSON.stringify(line))
        assert.ok(!/\p{Cc}/u.test(lines.join('')), 'nothing a name holds reaches the terminal')
      })
    )
    assert.equal(widthOf('日本'), 4)
    assert.equal(cut('日本', 3), '日')
  })

  it('draws only what differs, and draws it right', () => {
    const screens = fc.array(fc.array(fc.constantFrom('', 'a', 'bb', 'ccc'), { maxLength: 6 }), { maxLength: 6 })
    fc.assert(
      fc.property(screens, (all) => {
        const size = { columns: 10, rows: 6 }
        const terminal = Array.from({ length: size.rows }, () => 'old')
        let previous: string[] | null = null
        for (const next of all) {
          const text = difference(previous, next, size)
          if (text.includes('\u001B[2J')) terminal.fill('')
          for (const [, row, line] of text.matchAll(/\p{Cc}\[(\d+);1H(\P{Cc}*)\p{Cc}\[K/gu)) {
            terminal[Number(row) - 1] = line!
          }
          if (previous != null) assert.ok(!text.includes('\u001B[2J'))
          if (previous?.join('|') === next.join('|')) assert.equal(text, '')
          previous = next
          assert.deepEqual(terminal, [...next, ...Array.from({ length: size.rows - next.length }, () => '')])
        }
      })
    )
  })

  describe('over an agent', () => {
    let host: ApiHost
    before(async () => {
      host = await ApiHost.start()
      await host.ask('POST', '/v1/services', { target_peer_id: EDGE_B, name: 'web', source_peer_id: EDGE_A })
    })
    after(() => host.stop())

    it('looks twice where nobody sits at a screen, here and at another peer', async () => {
      const running = host.cli(['top', '-j'])
      const moving = setInterval(() => (host.operator.bytes += 1000), 50)
      const { json } = await running
      clearInterval(moving)
      assert.equal(json.peer_id, EDGE_A)
      assert.equal(json.services[0].name, 'web')
      assert.ok(json.services[0].rate_in > 0, JSON.stringify(json.services))
      const text = await host.cli(['top', '--sort', 'flows'])
      assert.match(text.out, /^web +source +edge-b +active +1 /m)
      assert.equal(json.flows[0].reason, 'open')
      assert.match(text.out, / web +source +10\.1\.0\.2:40000 +10\.2\.0\.2:80 +open /)
      assert.equal((await host.cli(['top', '-j', '--peer', 'edge-b'])).json.peer_id, EDGE_B)
      assert.equal((await host.cli(['top', '--sort', 'bogus'])).exit, 2)
      assert.equal((await host.cli(['top', '--peer', 'nobody'])).exit, 4)
      assert.equal((await host.ask('GET', '/v1/activity?bogus=1')).status, 400)
    })

    it('at a terminal it draws, follows keys and its size, tells trouble, and gives the terminal back', async () => {
      const stdin = Object.assign(new PassThrough(), { raw: false, setRawMode: (raw: boolean) => (stdin.raw = raw) })
      const stdout = Object.assign(new PassThrough(), { columns: 100, rows: 30 })
      let shown = ''
      stdout.setEncoding('utf8').on('data', (text: string) => (shown += text))
      const { signal } = new AbortController()
      const api = new Client({ kind: 'socket', path: host.socket }, { clock: systemClock, signal })
      const common = { api, peer: undefined, view: firstView, everyMs: 30, colours: true, clock: systemClock, signal }
      const running = runTop({ ...common, stdin, stdout })
      await until(() => shown.includes('web'))
      assert.ok(shown.startsWith(enterScreen))
      assert.equal(stdin.raw, true)
      host.operator.bytes += 5 * 1024 * 1024
      await until(() => /MiB\/s/.test(shown))
      stdin.write('4')
      await until(() => shown.includes('MOVED'))
      shown = ''
      Object.assign(stdout, { columns: 40, rows: 8 }).emit('resize')
      await until(() => shown.includes('\u001B[2J'))
      await host.http.stop()
      await until(() => shown.includes('error: '))
      stdin.write('q')
      await running
      assert.ok(shown.endsWith(leaveScreen))
      assert.equal(stdin.raw, false)
      await assert.rejects(runTop({ ...common, stdin, stdout }), 'an agent that is not there is an error, not a screen')
    })
  })
})

async function until(check: () => boolean): Promise<void> {
  const end = performance.now() + 5_000
  while (!check()) {
    assert.ok(performance.now() < end, 'not within 5 s')
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}
