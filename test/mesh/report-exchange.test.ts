import { deepEqual, equal, ok } from 'node:assert/strict'
import * as fc from 'fast-check'
import { silentLogger } from '../../src/log.ts'
import { reportToldMs } from '../../src/mesh/limits.ts'
import type { ServiceReport } from '../../src/mesh/mesh.ts'
import { Refusals } from '../../src/mesh/refusals.ts'
import { ReportBook, type ReportDelta } from '../../src/mesh/report/book.ts'
import { ReportExchange } from '../../src/mesh/report/exchange.ts'
import { NOTHING, takeOver, type Held } from '../../src/mesh/report/held.ts'
import { sendDelta } from '../../src/mesh/report/page.ts'
import { FakeClock } from '../actors/fakes/clock.ts'
import { MemoryNet, type MemoryNetwork } from './memory-network.ts'
import { serviceReport } from './service-report.ts'
import { pause, until } from './support.ts'

const REPORT_PROTOCOL = '/arctic/report/1.0.0'

const report = (service_id: string, spec = ''): ServiceReport => serviceReport(service_id, { spec })

describe('reports of other peers', function () {
  this.timeout(20_000)
  let net: MemoryNet
  let clock: FakeClock
  let started: ReportExchange[]

  class Side {
    readonly network: MemoryNetwork
    readonly news: string[] = []
    readonly refusals = new Refusals()
    readonly book: ReportBook
    readonly exchange: ReportExchange
    /** Whether all that were asked for follow, at each change of the book. */
    readonly told: boolean[] = []
    /** Streams that were opened to this side. */
    questions = 0

    constructor(self: string, others: readonly string[]) {
      this.network = net.peer(self)
      const onChange = (): void => void this.told.push(this.exchange.tell(new Set(others)))
      this.book = new ReportBook({ incarnation: 1, clock, onChange })
      this.exchange = new ReportExchange({
        network: this.network.whole(),
        book: this.book,
        clock,
        log: silentLogger,
        refusals: this.refusals,
        onReport: (peer, services) => this.news.push(...services.map((id) => `${peer} ${id}`))
      })
    }

    async start(): Promise<this> {
      await this.exchange.start()
      started.push(this.exchange)
      const serve = this.network.handlers.get(REPORT_PROTOCOL)!
      this.network.handlers.set(REPORT_PROTOCOL, (channel, from) => {
        this.questions++
        return serve(channel, from)
      })
      return this
    }

    say(...reports: ServiceReport[]): void {
      this.book.publish(new Map(reports.map((one) => [one.service_id, one])))
    }

    specs(peer: string): Record<string, string> {
      return Object.fromEntries([...this.exchange.held(peer)].map(([id, { spec }]) => [id, spec]))
    }
  }

  beforeEach(() => {
    net = new MemoryNet()
    clock = new FakeClock()
    started = []
  })
  afterEach(async () => {
    await Promise.all(started.map((exchange) => exchange.stop()))
    await until('all streams to end', () => net.open === 0)
  })

  const pair = async (): Promise<[Side, Side]> => {
    const [a, b] = [await new Side('a', ['b']).start(), await new Side('b', ['a']).start()]
    return [a, b]
  }

  it('come by themselves to who follows, each change by one stream and without a question', async () => {
    const [a, b] = await pair()
    b.say(report('s', '0'))
    deepEqual(b.told, [false], 'nobody follows yet')
    a.exchange.follow(new Set(['b']))
    await until('what was said before', () => a.specs('b')['s'] === '0')
    for (let n = 1; n <= 50; n++) {
      b.say(report('s', String(n)))
      await until('the change', () => a.specs('b')['s'] === String(n))
    }
    b.say()
    await until('the end of it', () => !('s' in a.specs('b')))
    equal(b.questions, 1)
    ok(b.told.slice(1).every(Boolean))
    deepEqual(new Set(a.news), new Set(['b s']))
  })

  it('of a burst the newest is told, and nothing is lost when two come at once', async () => {
    const [a, b] = await pair()
    a.exchange.follow(new Set(['b']))
    await until('it to follow', () => b.exchange.tell(new Set(['a'])))
    for (let n = 0; n < 1_000; n++) b.say(report('s', String(n)), report('t', String(-n)))
    await until('the last', () => a.specs('b')['s'] === '999')
    deepEqual(a.specs('b'), { s: '999', t: '-999' })
    ok(a.news.length < 100, `${a.news.length} of 2,000`)
  })

  it('go on after the connection was lost, with what was missed', async () => {
    const [a, b] = await pair()
    b.say(report('s', '1'), report('gone', '1'))
    a.exchange.follow(new Set(['b']))
    await until('the first', () => a.specs('b')['s'] === '1')
    net.cut('a', 'b', { apart: true })
    await pause(20)
    b.say(report('s', '2'))
    await pause(20)
    deepEqual(a.specs('b'), { s: '1', gone: '1' })
    net.join('a', 'b')
    await until('the second', () => a.specs('b')['s'] === '2')
    deepEqual(a.specs('b'), { s: '2' })
  })

  it('end for who is not followed any more, and one who follows anew is told once', async () => {
    const [a, b] = await pair()
    a.exchange.follow(new Set(['b']))
    await until('it to follow', () => b.exchange.tell(new Set(['a'])))
    a.exchange.follow(new Set())
    await until('it to end', () => !b.exchange.tell(new Set(['a'])))
    equal(net.open, 0)
    a.exchange.follow(new Set(['b']))
    a.exchange.forget('b')
    a.exchange.announced('b', { incarnation: 1, seq: 0 })
    await until('it to follow again', () => b.exchange.tell(new Set(['a'])))
    b.say(report('s', '1'))
    await until('the change', () => a.specs('b')['s'] === '1')
    deepEqual([a.news, net.open], [['b s'], 1])
  })

  it('are asked for at each announcement where an agent answers once and closes', async () => {
    const a = await new Side('a', ['b']).start()
    const old = net.peer('b')
    const book = new ReportBook({ incarnation: 1, clock, onChange: () => {} })
    let questions = 0
    await old.handle(REPORT_PROTOCOL, async (channel) => {
      questions++
      const question = await channel.receive({ signal: AbortSignal.timeout(5_000) })
      const { since, incarnation } = JSON.parse(Buffer.from(question!).toString())
      await sendDelta(channel, book.since(since, incarnation))
    })
    const say = (spec: string): void => book.publish(new Map([['s', report('s', spec)]]))
    say('1')
    a.exchange.follow(new Set(['b']))
    await until('the first', () => a.specs('b')['s'] === '1')
    await pause(20)
    a.exchange.announced('b', book.version())
    await pause(20)
    equal(questions, 1, 'what is known is not asked for')
    say('2')
    a.exchange.announced('b', book.version())
    await until('the second', () => a.specs('b')['s'] === '2')
    equal(questions, 2)
    equal(net.open, 0)
  })

  it('are asked for where somebody who is followed announces what it does not tell', async () => {
    const a = await new Side('a', ['b']).start()
    const stuck = net.peer('b')
    const book = new ReportBook({ incarnation: 1, clock, onChange: () => {} })
    await stuck.handle(REPORT_PROTOCOL, async (channel) => {
      const signal = AbortSignal.timeout(15_000)
      const { since, incarnation, follow } = JSON.parse(Buffer.from((await channel.receive({ signal }))!).toString())
      await sendDelta(channel, book.since(since, incarnation))
      if (follow === true) await channel.receive({ signal })
    })
    a.exchange.follow(new Set(['b']))
    await pause(20)
    book.publish(new Map([['s', report('s', '1')]]))
    a.exchange.announced('b', book.version())
    await pause(20)
    deepEqual(a.specs('b'), {})
    await clock.advance(reportToldMs)
    await until('it to be asked', () => a.specs('b')['s'] === '1')
  })

  it('a follower that says more than its question is refused and counted', async () => {
    const [, b] = await pair()
    const channel = await net.peer('a').open('b', REPORT_PROTOCOL)
    await channel.send(Buffer.from('{"since":0,"incarnation":0,"follow":true}'))
    await channel.receive({ signal: AbortSignal.timeout(5_000) })
    await channel.send(Buffer.from('{}'))
    await until('it to be counted', () => b.refusals.all().length === 1)
    deepEqual(b.refusals.all(), [{ protocol: 'report', reason: 'malformed', count: 1 }])
  })

  it('say what was published, in whatever order answers to different questions come in', () => {
    const step = fc.record({
      publish: fc.dictionary(fc.constantFrom('a', 'b', 'c'), fc.constantFrom('x', 'y')),
      ask: fc.boolean(),
      take: fc.nat()
    })
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 30 }), (steps) => {
        const book = new ReportBook({ incarnation: 1, clock: new FakeClock(), onChange: () => {} })
        let held: Held = NOTHING
        const under: ReportDelta[] = []
        const take = (delta: ReportDelta): void => {
          held = takeOver(held, [{ ...delta, more: false }])?.next ?? held
        }
        for (const { publish, ask, take: which } of steps) {
          book.publish(new Map(Object.entries(publish).map(([id, spec]) => [id, report(id, spec)])))
          if (ask) under.push(book.since(held.seq, held.incarnation))
          else if (under.length > 0) take(under.splice(which % under.length, 1)[0]!)
        }
        for (const delta of under) take(delta)
        take(book.since(held.seq, held.incarnation))
        deepEqual(held.reports, book.all())
      })
    )
  })
})
