import assert from 'node:assert/strict'
import * as fc from 'fast-check'
import { isoTime } from '../../src/clock.ts'
import { newService } from '../../src/crdt/validate.ts'
import { ApiHost } from './api-host.ts'
import { EDGE_A, EDGE_B } from './memory-operator.ts'

describe('api: pages of a list', () => {
  let host: ApiHost
  beforeEach(async () => void (host = await ApiHost.start()))
  afterEach(async () => {
    await host.stop()
    assert.deepEqual(host.errors, [])
  })

  const put = (n: number): void => {
    const id = String(n).padStart(26, '0')
    host.operator.services.set(id, newService({ source_peer_id: EDGE_A, target_peer_id: EDGE_B }, id, isoTime(0)))
  }
  const ids = (rows: Array<{ id: string }>): string[] => rows.map(({ id }) => id)

  it('go by id, end without a token, and the Link header leads from one to the next', async () => {
    for (const n of [5, 3, 1, 4, 2]) put(n)
    let path: string | undefined = '/v1/services?target_peer_id=edge-b&limit=2'
    const pages: string[][] = []
    while (path != null) {
      const answer = await host.ask('GET', path)
      pages.push(ids(answer.json).map((id) => id.slice(-1)))
      const link = String(answer.headers['link'] ?? '')
      assert.equal(answer.headers['next-page-token'], link === '' ? undefined : ids(answer.json).at(-1))
      path = /^<([^>]+)>; rel="next"$/.exec(link)?.[1]
    }
    assert.deepEqual(pages, [['1', '2'], ['3', '4'], ['5']])
    const all = await host.ask('GET', '/v1/services')
    assert.deepEqual([all.json.length, all.headers['link']], [5, undefined])
  })

  it('hold each row that stays exactly once, whatever comes and goes between them', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(fc.integer({ min: 0, max: 60 }), { maxLength: 40 }),
        fc.integer({ min: 1, max: 9 }),
        fc.array(fc.integer({ min: 61, max: 99 }), { maxLength: 10 }),
        async (stay, limit, others) => {
          host.operator.services.clear()
          for (const n of stay) put(n)
          const seen: string[] = []
          let after: string | undefined
          do {
            const query = new URLSearchParams({ limit: String(limit), ...(after == null ? {} : { after }) })
            const answer = await host.ask('GET', `/v1/services?${query.toString()}`)
            assert.ok(answer.json.length <= limit)
            seen.push(...ids(answer.json))
            after = answer.headers['next-page-token']?.toString()
            const other = others.pop()
            if (other != null) put(other)
            for (const id of host.operator.services.keys()) {
              if (Number(id) > 60 && Number(id) !== other) host.operator.services.delete(id)
            }
          } while (after != null)
          const kept = seen.map(Number).filter((n) => n <= 60)
          assert.deepEqual(
            kept,
            stay.toSorted((a, b) => a - b)
          )
        }
      ),
      { numRuns: 30 }
    )
  })

  it('exist for every list', async () => {
    const { id } = (await host.ask('POST', '/v1/services', { target_peer_id: 'edge-b' })).json
    const routes = [{ dest_cidr: '10.2.0.0/24' }, { dest_cidr: '10.3.0.0/24' }]
    await host.ask('POST', `/v1/services/${id}/routes`, { routes })
    for (const path of ['/v1/peers', '/v1/routes', `/v1/services/${id}/routes`]) {
      const first = await host.ask('GET', `${path}?limit=1`)
      const token = String(first.headers['next-page-token'])
      assert.equal(ids(first.json)[0], token, path)
      const second = await host.ask('GET', `${path}?limit=1&after=${token}`)
      assert.deepEqual([ids(second.json).length, second.headers['next-page-token']], [1, undefined], path)
    }
    const two = await host.ask('GET', `/v1/routes?service_id=${id}&limit=1`)
    assert.match(String(two.headers['link']), new RegExp(`^</v1/routes\\?service_id=${id}&limit=1&after=`))
  })

  it('of a size that makes no sense are refused', async () => {
    for (const limit of ['0', '-1', '10001', 'many', '1.5', '']) {
      const answer = await host.ask('GET', `/v1/services?limit=${limit}`)
      assert.deepEqual([answer.status, answer.json.error.code], [400, 'invalid_request'], limit)
      assert.equal(answer.json.error.details.field, 'limit')
    }
  })

  it('are followed by the command line, unless it is asked for fewer', async () => {
    for (let n = 0; n < 5001; n++) put(n)
    const rows = (await host.cli(['services', 'list', '-j'])).json
    assert.deepEqual(ids(rows), [...host.operator.services.keys()])
    const few = await host.cli(['services', 'list', '--limit', '3', '-o', 'name'])
    assert.equal(few.out, [0, 1, 2].map((n) => `service/${String(n).padStart(26, '0')}\n`).join(''))
    assert.equal((await host.cli(['peers', 'list', '--limit', '1', '-j'])).json.length, 1)
    assert.equal((await host.cli(['routes', 'list', '--limit', '0'])).exit, 2)
  })
})
