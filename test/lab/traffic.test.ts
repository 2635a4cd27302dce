import assert from 'node:assert/strict'
import { Capture } from '../../lab/capture.ts'
import { labFor } from '../../lab/for-tests.ts'
import type { Lab } from '../../lab/lab.ts'
import { defaultRoute } from '../../lab/topology.ts'
import type { Host } from '../../lab/host.ts'
import { forwarding } from '../../lab/topology.ts'
import { payload, sha256 } from '../../lab/traffic/payload.ts'
import { httpServer, ping, stranger, tcp, tcpServer, ticker, udpEcho, udpEchoServer } from '../../lab/traffic/tools.ts'
import { until } from '../../lab/wait.ts'

const A = { v4: '10.6.0.2', v6: 'fd00:6::2' }
const B = { v4: '10.7.0.2', v6: 'fd00:7::2' }
const MIB = 1024 * 1024

/** Without the product in between: what the tools say about a plain network is what they may say about a tunnelled one. */
describe('lab: traffic tools over a plain router', function () {
  this.timeout(30_000)
  let lab: Lab
  let a: Host
  let b: Host
  let router: Host

  before(async function () {
    lab = await labFor(this, 'labtraf')
    a = await lab.host('a')
    b = await lab.host('b')
    router = await lab.host('router')
    await lab.wire(
      { host: a, device: 'eth0', addresses: [`${A.v4}/24`, `${A.v6}/64`] },
      { host: router, device: 'left', addresses: ['10.6.0.1/24', 'fd00:6::1/64'] }
    )
    await lab.wire(
      { host: b, device: 'eth0', addresses: [`${B.v4}/24`, `${B.v6}/64`] },
      { host: router, device: 'right', addresses: ['10.7.0.1/24', 'fd00:7::1/64'] }
    )
    await forwarding(router)
    await defaultRoute(a, '10.6.0.1', 'fd00:6::1')
    await defaultRoute(b, '10.7.0.1', 'fd00:7::1')
  })
  after(() => lab?.close())

  it('HTTP: the checksum is the sent one, and the server says whom it saw', async () => {
    const { task, sha256: sent } = await httpServer(b, {
      addresses: [B.v4, B.v6],
      port: 8000,
      bytes: 4 * MIB,
      text: 'body'
    })
    for (const [host, from] of [
      [B.v4, A.v4],
      [`[${B.v6}]`, A.v6]
    ] as const) {
      await a.exec(['curl', '-sS', '-m', '10', '-o', a.path('file'), `http://${host}:8000/file`])
      assert.equal((await a.exec(['sha256sum', a.path('file')])).split(' ')[0], sent)
      assert.ok(task.json().some((line) => line['event'] === 'request' && line['from'] === from))
    }
    await a
      .exec(['curl', '-sS', '-m', '10', '-T', a.path('file'), '-X', 'POST', `http://${B.v4}:8000/upload`])
      .then((answer) => {
        assert.equal(answer, sent)
      })
  })

  it('UDP: an echo comes back from whom it was sent to; silence is told as silence', async () => {
    const server = await udpEchoServer(b, [B.v4, B.v6], 9000)
    for (const [address, from] of [
      [B.v4, A.v4],
      [B.v6, A.v6]
    ] as const) {
      const outcome = await udpEcho(a, { address, port: 9000, text: 'echo' })
      assert.deepEqual([outcome.received, outcome.from], [3, address])
      assert.ok(server.json().some((line) => line['from'] === from && line['text'] === 'echo 0'))
    }
    const silent = await udpEcho(a, { address: B.v4, port: 9999, text: 'echo', count: 1, waitMs: 300 })
    assert.equal(silent.received, 0)
  })

  it('ping: answers with a time; a low TTL names the router that it ended at', async () => {
    const answered = await ping(a, B.v4)
    assert.equal(answered.received, 3)
    assert.ok(answered.rttMs != null && answered.rttMs < 1000)
    assert.deepEqual(
      await ping(a, B.v4, { ttl: 1, count: 1 }).then(({ received, expiredAt }) => [received, expiredAt]),
      [0, '10.6.0.1']
    )
    assert.equal((await ping(a, B.v6, { ttl: 1, count: 1 })).expiredAt, 'fd00:6::1')
  })

  it('TCP: each manner of a server is told by the client as it was', async () => {
    const manners = { echo: 7001, greet: 7002, digest: 7003, burst: 7004, reset: 7005, hold: 7006 }
    const server = await tcpServer(b, B.v4, manners)
    const to = (manner: keyof typeof manners) => ({ address: B.v4, port: manners[manner], waitMs: 5000 })

    const echo = await tcp(a, { ...to('echo'), sendBytes: MIB, end: true })
    assert.deepEqual([echo.how, echo.received, echo.sha256], ['end', MIB, sha256(payload('upload', MIB))])
    assert.match((await tcp(a, { ...to('greet'), waitMs: 500 })).text, /^hello/)
    const digest = await tcp(a, { ...to('digest'), sendBytes: MIB, end: true })
    assert.equal(digest.text, `${MIB} ${sha256(payload('upload', MIB))}`)
    const burst = await tcp(a, { ...to('burst') })
    assert.deepEqual([burst.how, burst.received], ['end', MIB])
    assert.equal((await tcp(a, { ...to('reset'), send: 'x' })).how, 'ECONNRESET')
    assert.equal((await tcp(a, { ...to('hold'), send: 'x', waitMs: 300 })).how, 'open')
    assert.equal((await tcp(a, { address: B.v4, port: 7999, waitMs: 1000 })).how, 'ECONNREFUSED')
    assert.equal((await tcp(a, { ...to('hold'), resetAfter: 0 })).how, 'reset by client')
    await until(
      'the server to see the reset',
      () =>
        server
          .json()
          .some((line) => line['event'] === 'closed' && line['manner'] === 'hold' && line['how'] === 'ECONNRESET'),
      { timeoutMs: 2000 }
    )
  })

  it('ticker: ticks while the server lives, and says how it broke when it does not', async () => {
    const server = await tcpServer(b, B.v4, { echo: 7010 })
    const task = await ticker(a, B.v4, 7010, 20)
    await until('ticks', () => task.json().filter((line) => line['event'] === 'tick').length > 5, { timeoutMs: 5000 })
    server.kill('SIGKILL')
    await task.says((line) => line['event'] === 'broken')
  })

  it('stranger: counts who got in and whom the other side threw out', async () => {
    await tcpServer(b, B.v4, { hold: 7020, reset: 7021 })
    const held = await stranger(a, { address: B.v4, port: 7020, manner: 'garbage', count: 50, holdMs: 500 })
    assert.deepEqual([held.connected, held.ended_by_them], [50, 0])
    const thrown = await stranger(a, { address: B.v4, port: 7021, manner: 'garbage', count: 50, holdMs: 500 })
    assert.deepEqual([thrown.connected, thrown.ended_by_them], [50, 50])
  })

  it('capture: finds a text that goes over the wire in the clear, on both protocols, and no other', async () => {
    await udpEchoServer(b, [B.v4, B.v6], 9100)
    const { sha256: sent } = await httpServer(b, {
      addresses: [B.v4],
      port: 8100,
      bytes: 8 * MIB,
      text: 'in the clear'
    })
    const capture = await Capture.start(router, 'right')
    await udpEcho(a, { address: B.v4, port: 9100, text: 'loud and clear' })
    await udpEcho(a, { address: B.v6, port: 9100, text: 'loud and clear' })
    await a.exec(['curl', '-sS', '-m', '10', '-o', '/dev/null', `http://${B.v4}:8100/file`])
    const report = await capture.stop(['loud and clear', 'in the clear', 'nobody said this'])
    assert.ok(sent.length === 64)
    assert.equal(report.found.get('loud and clear'), 12)
    assert.ok((report.found.get('in the clear') ?? 0) > 100)
    assert.equal(report.found.get('nobody said this'), 0)
    assert.equal(report.byPort.get('udp/9100'), 12)
    assert.ok((report.byPort.get('tcp/8100') ?? 0) > 100)
    assert.ok(report.bytes > 8 * MIB)
    assert.equal(report.dropped, 0)
  })
})
