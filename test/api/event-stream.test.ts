import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { EventStream } from '../../src/api/http/event-stream.ts'
import { systemClock } from '../../src/clock.ts'

describe('api: a stream of steps', () => {
  it('that has ended because the agent stops takes what still happens, and nothing breaks by it', async () => {
    const stop = new AbortController()
    let released = 0
    const server = createServer((_request, response) => {
      const parts = { clock: systemClock, stopping: stop.signal, isWelcome: () => true }
      const stream = new EventStream(response, parts)
      stream.open(() => void released++)
      void stream.write('step', { n: 1 }).then(async () => {
        stop.abort()
        await stream.write('step', { n: 2 })
      })
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    try {
      const [response] = await once(
        request({ port: (server.address() as AddressInfo).port, agent: false }).end(),
        'response'
      )
      const told = await text(response)
      assert.match(told, /data: \{"n":1\}/)
      assert.doesNotMatch(told, /data: \{"n":2\}/)
      assert.equal(released, 1)
    } finally {
      server.close()
    }
  })
})
