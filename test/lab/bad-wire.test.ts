import assert from 'node:assert/strict'
import { NOTORIOUS, type BadWire } from '../../lab/bad-wire.ts'
import { Capture } from '../../lab/capture.ts'
import { labFor } from '../../lab/for-tests.ts'
import type { Host } from '../../lab/host.ts'
import type { Lab } from '../../lab/lab.ts'
import { packets } from '../../lab/pcap.ts'
import { ping, tcp, tcpServer } from '../../lab/traffic/tools.ts'

const [A, B] = ['10.8.0.1', '10.8.0.2'] as const
/** Of an Ethernet and an IPv4 header without options. */
const ICMP = { type: 34, sequence: 40 }
const REQUEST = 8

describe('lab: a bad wire', function () {
  this.timeout(60_000)
  let lab: Lab
  let a: Host
  let b: Host
  let wire: BadWire

  before(async function () {
    lab = await labFor(this, 'labwire')
    a = await lab.host('a')
    b = await lab.host('b')
    const end = (host: Host, address: string) => ({ host, device: 'wire0', addresses: [`${address}/24`] })
    wire = await lab.badWire(end(a, A), end(b, B), 7)
  })
  afterEach(() => wire?.mend())
  after(() => lab?.close())

  it('is a good wire until it is told otherwise', async () => {
    assert.equal((await ping(a, B)).received, 3)
    const { 'a-to-b': there } = await wire.counters()
    assert.ok(there.frames > 0 && there.lost === 0 && there.overtook === 0, JSON.stringify(there))
  })

  it('loses and lets overtake the parts it is told to, as the other host sees it', async () => {
    const count = 1000
    const parts = { loss: 0.1, reorder: 0.2 }
    // Many frames are on their way at once, so each that is not delayed overtakes some.
    await wire.set({ ...parts, delayMs: 50 }, 'a-to-b')
    const capture = await Capture.start(b, 'wire0', 'icmp')
    await a.attempt(['ping', '-n', '-q', '-i', '0.001', '-c', String(count), '-W', '1', B])
    await capture.stop()
    const came: number[] = []
    for (const { protocol, frame } of packets(capture.path)) {
      if (protocol === 'icmp' && frame[ICMP.type] === REQUEST) came.push(frame.readUInt16BE(ICMP.sequence))
    }
    assertPart('lost', count - came.length, parts.loss, count)
    let latest = 0
    // A delayed frame is behind one that was sent later when something has overtaken it: those that did are what it is not.
    const early = came.filter((sequence, i) => {
      const overtook = came.slice(i + 1).some((later) => later < sequence) && sequence > latest
      latest = Math.max(latest, sequence)
      return overtook
    }).length
    assertPart('early', early, parts.reorder, came.length)
  })

  it('delays each way by what it is told, never less', async () => {
    await wire.set({ delayMs: 40 }, 'a-to-b')
    await wire.set({ delayMs: 20, jitterMs: 5 }, 'b-to-a')
    const { received, rttMs } = await ping(a, B, { count: 5 })
    assert.equal(received, 5)
    assert.ok(rttMs != null && rttMs >= 55, `${rttMs} ms`)
  })

  it('is cut one way and mended', async () => {
    await wire.cut('a-to-b')
    const before = await wire.counters()
    assert.equal((await ping(b, A, { count: 2 })).received, 0)
    const after = await wire.counters()
    assert.ok(after['b-to-a'].frames > before['b-to-a'].frames && after['b-to-a'].lost === before['b-to-a'].lost)
    assert.ok(after['a-to-b'].lost > before['a-to-b'].lost)
    await wire.mend('a-to-b')
    assert.equal((await ping(b, A, { count: 2 })).received, 2)
  })

  it('TCP comes whole over the notorious one', async () => {
    await tcpServer(b, B, { digest: 9000 })
    await wire.set(NOTORIOUS)
    const bytes = 512 * 1024
    const { how, text } = await tcp(a, { address: B, port: 9000, sendBytes: bytes, end: true, waitMs: 40_000 })
    assert.equal(how, 'end')
    assert.equal(text.split(' ')[0], String(bytes))
    const { 'a-to-b': there } = await wire.counters()
    assert.ok(there.overtook > 0)
  })

  it('says what it does not understand, and goes on', async () => {
    await assert.rejects(wire.set({ loss: 7 }), /loss and reorder are parts/)
    assert.equal((await ping(a, B, { count: 1 })).received, 1)
  })
})

/** Within five standard deviations: wrong once in two million runs, and the seed is always the same. */
function assertPart(what: string, seen: number, part: number, of: number): void {
  const allowed = 5 * Math.sqrt(of * part * (1 - part))
  assert.ok(
    Math.abs(seen - part * of) < allowed,
    `${seen} of ${of} ${what}, ${part * of} ± ${allowed.toFixed(0)} expected`
  )
}
