import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type ClientRequest, request } from 'node:http'
import * as fc from 'fast-check'
import { EventHub } from '../../src/api/http/event-hub.ts'
import { eventsKeptMax } from '../../src/api/http/limits.ts'
import { systemClock } from '../../src/clock.ts'
import { ApiHost } from './api-host.ts'

interface Event {
  id: string | null
  type: string
  data: { type: string; data: Record<string, unknown> }
}

/** A reader of `GET /v1/events`. `until` waits, bounded, for a number of events. */
class Reader {
  readonly events: Event[] = []
  lastId: string | null = null
  readonly #request: ClientRequest
  readonly opened: Promise<void>

  constructor(socketPath: string, { lastId = null as string | null, query = '' } = {}) {
    this.#request = request({
      socketPath,
      path: `/v1/events${query}`,
      agent: false,
      headers: lastId == null ? {} : { 'last-event-id': lastId }
    })
    this.#request.on('error', () => {})
    this.#request.end()
    this.opened = this.#read()
  }

  async until(count: number): Promise<Event[]> {
    const deadline = systemClock.monotonic() + 2000
    while (this.events.length < count && systemClock.monotonic() < deadline) await systemClock.sleep(5)
    assert.equal(this.events.length, count, JSON.stringify(this.events.slice(0, 5)))
    return this.events
  }

  close(): void {
    this.#request.destroy()
  }

  async #read(): Promise<void> {
    const [response] = await once(this.#request, 'response')
    assert.equal(response.statusCode, 200)
    assert.match(response.headers['content-type'], /^text\/event-stream/)
    response.setEncoding('utf8').on('error', () => {})
    let pending = ''
    response.on('data', (chunk: string) => {
      const blocks = (pending + chunk).split('\n\n')
      pending = blocks.pop() ?? ''
      for (const block of blocks) this.#take(block)
    })
  }

  #take(block: string): void {
    const field = (name: string): string | null => new RegExp(`^${name}: (.*)$`, 'm').exec(block)?.[1] ?? null
    const id = field('id')
    const data = field('data')
    this.lastId = id ?? this.lastId
    if (data != null) this.events.push({ id, type: field('event') ?? 'message', data: JSON.parse(data) })
  }
}

describe('api: events', () => {
  let host: ApiHost
  const readers: Reader[] = []
  const read = async (options: ConstructorParameters<typeof Reader>[1] = {}): Promise<Reader> => {
    const reader = new Reader(host.socket, options)
    readers.push(reader)
    await reader.opened
    return reader
  }
  beforeEach(async () => void (host = await ApiHost.start()))
  afterEach(async () => {
    for (const reader of readers.splice(0)) reader.close()
    await host.stop()
    assert.deepEqual(host.errors, [])
  })

  it('come in order, with what changed', async () => {
    const reader = await read()
    const { id } = (await host.ask('POST', '/v1/services', { target_peer_id: 'edge-b' })).json
    await host.ask('DELETE', `/v1/services/${id}`)
    const events = await reader.until(2)
    assert.deepEqual(
      events.map(({ type, data }) => [type, data.type, data.data]),
      [
        ['service.created', 'service.created', { id }],
        ['service.deleted', 'service.deleted', { id }]
      ]
    )
  })

  it('resume after the last one seen, without loss or repetition', async () => {
    const first = await read()
    for (let n = 0; n < 5; n++) host.operator.emit('service.updated', { n })
    await first.until(5)
    const cut = first.events[2]!.id!
    first.close()
    for (let n = 5; n < 8; n++) host.operator.emit('service.updated', { n })
    const second = await read({ lastId: cut })
    host.operator.emit('service.updated', { n: 8 })
    assert.deepEqual(
      (await second.until(6)).map(({ data }) => data.data['n']),
      [3, 4, 5, 6, 7, 8]
    )
  })

  it('resume even for a reader that was cut before its first event', async () => {
    const first = await read()
    while (first.lastId == null) await systemClock.sleep(5)
    first.close()
    host.operator.emit('peer.admitted', {})
    const second = await read({ lastId: first.lastId })
    assert.equal((await second.until(1))[0]!.type, 'peer.admitted')
  })

  it('begin with a reset when the past is not known any more', async () => {
    for (const lastId of ['nonsense', '0-0', 'zzz-12', '-1']) {
      const reader = await read({ lastId })
      host.operator.emit('peer.admitted', {})
      assert.deepEqual(
        (await reader.until(2)).map(({ type }) => type),
        ['reset', 'peer.admitted'],
        lastId
      )
    }
  })

  it('can be narrowed to kinds', async () => {
    const reader = await read({ query: '?types=route.*,peer.admitted' })
    for (const type of ['service.created', 'route.created', 'peer.lost', 'peer.admitted']) host.operator.emit(type, {})
    assert.deepEqual(
      (await reader.until(2)).map(({ type }) => type),
      ['route.created', 'peer.admitted']
    )
  })

  it('of flows pass by live and do not push state changes out of memory', async () => {
    const reader = await read()
    host.operator.emit('service.created', { n: 1 })
    const flows = 3 * eventsKeptMax
    for (let n = 0; n < flows; n++) host.operator.emit('flow.closed', { n })
    await reader.until(flows + 1)
    assert.equal(reader.events.at(-1)!.id, null)
    reader.close()
    host.operator.emit('service.created', { n: 2 })
    const again = await read({ lastId: reader.lastId })
    assert.deepEqual(
      (await again.until(1)).map(({ data }) => data.data['n']),
      [2]
    )
  })

  it('cut a reader that does not read, instead of holding its events for ever', async () => {
    const slow = request({ socketPath: host.socket, path: '/v1/events', agent: false }).end()
    slow.on('error', () => {})
    const [response] = await once(slow, 'response')
    response.on('error', () => {})
    const filler = 'x'.repeat(64 * 1024)
    for (let n = 0; n < 100; n++) host.operator.emit('service.updated', { filler })
    const cut = new Promise((resolve) => response.once('close', resolve))
    response.resume()
    await cut
    assert.equal(response.complete, false)
    const reader = await read()
    host.operator.emit('service.updated', {})
    await reader.until(1)
  })
})

describe('api: the event memory', () => {
  it('gives back exactly what came after an id, or says that it cannot', () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom('service.updated', 'flow.closed'), { maxLength: 60 }),
        fc.integer({ min: 0, max: 3 * eventsKeptMax }),
        fc.nat(),
        (types, before, pick) => {
          const hub = new EventHub(1)
          const all: Array<{ id: string; n: number }> = []
          hub.read((event) => {
            if (event.id != null)
              all.push({ id: event.id, n: JSON.parse(/^data: (.*)$/m.exec(event.text())![1]!).data.n })
          })
          let n = 0
          const publish = (type: string): void => hub.publish({ type, at: '', data: { n: n++ } })
          for (let i = 0; i < before; i++) publish('peer.updated')
          for (const type of types) publish(type)
          const at = pick % (all.length + 1)
          const id = at === 0 ? '1-0' : all[at - 1]!.id
          const expected = all.slice(at).map(({ n: number }) => number)
          const { complete, events } = hub.since(id)
          assert.equal(complete, expected.length <= eventsKeptMax)
          if (complete) {
            assert.deepEqual(
              events.map((event) => JSON.parse(/^data: (.*)$/m.exec(event.text())![1]!).data.n),
              expected
            )
          }
          assert.equal(hub.since(`1-${all.length + 1}`).complete, false, 'an id of the future is not ours')
        }
      ),
      { numRuns: 60 }
    )
  })
})
