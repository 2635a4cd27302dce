import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import * as fc from 'fast-check'
import {
  connectionsPerAddressMax,
  limitedAddressesMax,
  refusedBodyBytesMax,
  requestBurstMax,
  requestsPerSecondMax
} from '../../src/api/http/limits.ts'
import { failureOfAnswer } from '../../src/api/cli/failure.ts'
import { RateLimit } from '../../src/api/http/rate-limit.ts'
import { systemClock } from '../../src/clock.ts'
import { ApiHost } from './api-host.ts'

describe('api: the rate limit', () => {
  let now = 0
  const clock = { ...systemClock, monotonic: () => now }
  const passing = (limit: RateLimit, address: string, requests: number): number =>
    Array.from({ length: requests }, () => limit.take(address)).filter((wait) => wait === 0).length

  it('lets a burst pass, then the steady rate, and says how long to wait', () => {
    const limit = new RateLimit(clock)
    assert.equal(passing(limit, '192.0.2.1', 1000), requestBurstMax)
    const wait = limit.take('192.0.2.1')
    now += wait
    assert.deepEqual([limit.take('192.0.2.1'), limit.take('192.0.2.1') > 0], [0, true])
    now += 1000
    assert.equal(passing(limit, '192.0.2.1', 1000), requestsPerSecondMax)
    now += 3_600_000
    assert.equal(passing(limit, '192.0.2.1', 1000), requestBurstMax)
  })

  it('never lets more pass than burst and rate allow, however they are spread', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 200 }), { minLength: 1, maxLength: 600 }), (gaps) => {
        const limit = new RateLimit(clock)
        const begun = now
        let passed = 0
        for (const gap of gaps) {
          now += gap
          if (limit.take('192.0.2.1') === 0) passed++
          assert.ok(passed <= requestBurstMax + ((now - begun) * requestsPerSecondMax) / 1000 + 1e-6)
        }
      })
    )
  })

  it('counts an IPv4 address alone, however it is written, and an IPv6 network of a host as one', () => {
    const limit = new RateLimit(clock)
    passing(limit, '192.0.2.1', 1000)
    assert.ok(limit.take('::ffff:192.0.2.1') > 0)
    assert.equal(limit.take('192.0.2.2'), 0)
    passing(limit, '2001:db8:0:1::1', 1000)
    assert.ok(limit.take('2001:db8:0:1:ffff::2') > 0)
    assert.equal(limit.take('2001:db8:0:2::1'), 0)
  })

  it('keeps a bounded table, and many addresses do not lift the limit', () => {
    const limit = new RateLimit(clock)
    const address = (n: number): string => `10.${(n >> 16) & 255}.${(n >> 8) & 255}.${n & 255}`
    const flood = 5 * limitedAddressesMax
    for (let n = 0; n < limitedAddressesMax; n++) passing(limit, address(n), 2)
    assert.equal(
      Array.from({ length: flood }, (_, n) => limit.take(address(n + limitedAddressesMax))).filter((wait) => wait === 0)
        .length,
      requestBurstMax
    )
    assert.ok(limit.addresses <= limitedAddressesMax + 1)
    now += 60_000
    assert.equal(limit.take(address(flood + 1)), 0)
    assert.equal(limit.addresses, 1, 'who is at rest is forgotten')
  })

  describe('at the TCP address', () => {
    let host: ApiHost
    beforeEach(async () => void (host = await ApiHost.start({ apiListen: '127.0.0.1:0' })))
    afterEach(async () => {
      await host.stop()
      assert.deepEqual(host.errors, [])
    })
    const dial = (): Socket => {
      const [address, port] = host.http.tcpAddress!.split(':')
      return connect(Number(port), address)
    }

    it('answers 429 with Retry-After, which is exit 5, and does not touch the socket', async () => {
      const flood = dial()
      const asked = requestBurstMax + 100
      flood.write('GET /v1/services HTTP/1.1\r\nHost: localhost\r\n\r\n'.repeat(asked))
      flood.end()
      const answers = await text(flood)
      const count = (status: number): number => answers.split(`HTTP/1.1 ${status} `).length - 1
      assert.equal(count(401) + count(429), asked)
      assert.ok(count(429) > 0 && count(401) >= requestBurstMax, `${count(401)} and ${count(429)}`)
      const [, refused = ''] = answers.split('HTTP/1.1 429 ')
      assert.match(refused, /retry-after: 1\r\n/i)
      const body = JSON.parse(refused.split('\r\n\r\n')[1]?.split('HTTP/1.1')[0] ?? 'null')
      assert.equal(body.error.code, 'unavailable')
      assert.equal(failureOfAnswer(429, body, 'x').exitCode, 5)
      assert.equal((await host.ask('GET', '/v1/services')).status, 200)
    })

    it('reads next to nothing of a body whose sender it does not know, and he still reads why', async () => {
      const client = dial()
      const length = 50 * 1024 * 1024
      client.write(
        `POST /v1/services HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${length}\r\n\r\n`
      )
      client.write(Buffer.alloc(refusedBodyBytesMax + 1024, 0x20))
      const [first] = (await once(client, 'data')) as [Buffer]
      assert.match(first.toString(), /^HTTP\/1\.1 401 .*connection: close/is)
      client.on('error', () => {})
      await once(client.resume(), 'close')
    })

    it('leaves room for others beside an address with many connections', async () => {
      const clients = Array.from({ length: connectionsPerAddressMax + 20 }, dial)
      const ends = { count: 0 }
      for (const client of clients) {
        client.on('error', () => {})
        client.once('close', () => ends.count++)
        client.resume()
      }
      const closed = async (count: number): Promise<void> => {
        for (let tries = 0; ends.count < count; tries++) {
          assert.ok(tries < 400, `${ends.count} closed within 2 s`)
          await systemClock.sleep(5)
        }
      }
      await closed(20)
      assert.equal(ends.count, 20)
      for (const client of clients) client.destroy()
      await closed(clients.length)
      const again = dial()
      again.write('GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n')
      assert.match(await text(again), /^HTTP\/1\.1 200/)
    })
  })
})
