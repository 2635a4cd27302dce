import { Type } from 'typebox'
import type { Clock } from '../../../clock.ts'
import { UnavailableError } from '../../../errors.ts'
import type { Scope } from '../../../crdt/scopes.ts'
import type { Access } from '../access.ts'
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
export function eventRoutes(
  app: App,
  hub: EventHub,
  { access, clock, stopping }: { access: Access; clock: Clock; stopping: AbortSignal }
): void {
  app.get(
    '/v1/events',
    {
      // Its headers alone would be an answer without end.
      exposeHeadRoute: false,
      config: { demand: { scopes: [] } },
      schema: {
        operationId: 'events',
        summary: 'Server-sent events: every state change, resumable with Last-Event-ID',
        description:
          'Each event is `{type, at, data}`. After a gap that cannot be replayed comes an event `reset`: read the ' +
          'state anew. A token gets the events of what it may read. `flow.closed` has no id and is not replayed.',
        tags: ['events'],
        querystring: EventQuerySchema,
        headers: Type.Object({ 'last-event-id': Type.Optional(Type.String()) }),
        response: { 200: { description: 'Events', content: { 'text/event-stream': { schema: Type.String() } } } }
      }
    },
    async (request, reply) => {
      const { query, headers } = request
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
      const end = (): void => void out.end()
      const forward = (event: StreamEvent): void => {
        if (!access.isStillGood(request)) end()
        else if (wanted(event.type) && access.holds(request, scopeOf(event.type))) send(event.text())
      }

      const missed = lastId == null ? null : hub.since(lastId)
      if (missed?.complete === false) send(`id: ${hub.lastId}\nevent: reset\ndata: {"type":"reset"}\n\n`)
      // The id in the opening comment event lets a reader resume even if it is cut before its first event.
      else if (missed == null) send(`retry: 1000\nid: ${hub.lastId}\n: open\n\n`)
      else send(': open\n\n')
      for (const event of missed?.events ?? []) forward(event)

      const stopReading = hub.read(forward)
      const heartbeat = clock.every(eventHeartbeatMs, () => (access.isStillGood(request) ? send(': alive\n\n') : end()))
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

/** What a token must hold to be told of an event. */
function scopeOf(type: string): Scope {
  const kind = type.split('.', 1)[0] ?? ''
  return KINDS[kind] ?? 'admin'
}

const KINDS: Readonly<Record<string, Scope>> = {
  service: 'services.read',
  flow: 'services.read',
  route: 'routes.read',
  peer: 'peers.read',
  cluster: 'cluster.read',
  engine: 'cluster.read',
  token: 'tokens.read',
  actor: 'actors.read'
}

function typeFilter(types: string | undefined): (type: string) => boolean {
  if (types == null) return () => true
  const patterns = types.split(',').map((type) => type.trim())
  return (type) =>
    patterns.some((pattern) => (pattern.endsWith('*') ? type.startsWith(pattern.slice(0, -1)) : type === pattern))
}
