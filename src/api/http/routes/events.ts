import { Type } from 'typebox'
import type { Clock } from '../../../clock.ts'
import { UnavailableError } from '../../../errors.ts'
import type { EventHub, StreamEvent } from '../event-hub.ts'
import { eventHeartbeatMs, eventStreamBytesMax, eventStreamsMax } from '../limits.ts'
import { strict } from '../schemas/common.ts'
import type { App } from '../type-provider.ts'

const EventQuerySchema = strict({
  types: Type.Optional(
    Type.String({ minLength: 1, description: 'only these, comma separated; `service.*` is all of a kind' })
  )
})

/** `stopping` ends every stream, so that the agent's stop does not wait for its readers. */
export function eventRoutes(app: App, hub: EventHub, clock: Clock, { stopping }: { stopping: AbortSignal }): void {
  app.get(
    '/v1/events',
    {
      schema: {
        operationId: 'events',
        summary: 'Server-sent events: every state change, resumable with Last-Event-ID',
        description:
          'Each event is `{type, at, data}`. After a gap that cannot be replayed comes an event `reset`: read the ' +
          'state anew. `flow.closed` has no id and is not replayed.',
        tags: ['events'],
        querystring: EventQuerySchema,
        headers: Type.Object({ 'last-event-id': Type.Optional(Type.String()) }),
        response: { 200: { description: 'Events', content: { 'text/event-stream': { schema: Type.String() } } } }
      }
    },
    async ({ query, headers }, reply) => {
      if (hub.readers >= eventStreamsMax) {
        throw new UnavailableError(`${eventStreamsMax} event streams are open already; close one and try again`)
      }
      const wanted = typeFilter(query.types)
      const lastId = headers['last-event-id']

      reply.hijack()
      const out = reply.raw
      out.writeHead(200, {
        'content-type': 'text/event-stream; charset=utf-8',
        'cache-control': 'no-store',
        connection: 'close',
        'x-accel-buffering': 'no'
      })
      const send = (text: string): void => {
        if (out.writableLength + text.length > eventStreamBytesMax) out.destroy()
        else out.write(text)
      }
      const forward = (event: StreamEvent): void => {
        if (wanted(event.type)) send(event.text())
      }

      const missed = lastId == null ? null : hub.since(lastId)
      if (missed?.complete === false) send(`id: ${hub.lastId}\nevent: reset\ndata: {"type":"reset"}\n\n`)
      // The id in the opening comment event lets a reader resume even if it is cut before its first event.
      else if (missed == null) send(`retry: 1000\nid: ${hub.lastId}\n: open\n\n`)
      else send(': open\n\n')
      for (const event of missed?.events ?? []) forward(event)

      const stopReading = hub.read(forward)
      const heartbeat = clock.every(eventHeartbeatMs, () => send(': alive\n\n'))
      const end = (): void => void out.end()
      stopping.addEventListener('abort', end, { once: true })
      out.once('close', () => {
        stopReading()
        heartbeat.cancel()
        stopping.removeEventListener('abort', end)
      })
      if (stopping.aborted) end()
    }
  )
}

function typeFilter(types: string | undefined): (type: string) => boolean {
  if (types == null) return () => true
  const patterns = types.split(',').map((type) => type.trim())
  return (type) =>
    patterns.some((pattern) => (pattern.endsWith('*') ? type.startsWith(pattern.slice(0, -1)) : type === pattern))
}
