import type { ServerResponse } from 'node:http'
import type { FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import type { ActorUpdateJson } from '../../../actors/operator/actor-json.ts'
import type { Operator } from '../../../actors/operator/operator.ts'
import type { Clock } from '../../../clock.ts'
import { LatestWins } from '../../../latest-wins.ts'
import { hangUpSignal } from '../hang-up.ts'
import { eventHeartbeatMs, watchedActorsWaitingMax } from '../limits.ts'
import {
  ActorDetailSchema,
  ActorParamsSchema,
  ActorQuerySchema,
  ActorSchema,
  ActorSentSchema,
  ActorWatchQuerySchema,
  SentEventSchema
} from '../schemas/actor.ts'
import { ref } from '../schemas/common.ts'
import type { App } from '../type-provider.ts'

/** The live actors of this agent, or with `?peer=` of another member's. `stopping` ends the watches. */
export function actorRoutes(app: App, operator: Operator, clock: Clock, { stopping }: { stopping: AbortSignal }): void {
  const tags = ['actors']

  app.get(
    '/v1/actors',
    {
      schema: {
        operationId: 'listActors',
        summary: "The tree of an agent's actors",
        tags,
        querystring: ActorQuerySchema,
        response: { 200: ref(ActorSchema) }
      }
    },
    async ({ query }, reply) => operator.actors({ peer: query.peer, signal: hangUpSignal(reply) })
  )

  app.get(
    '/v1/actors/:path',
    {
      schema: {
        operationId: 'inspectActor',
        summary: 'One actor: its state, context, what it takes, its chart and its last steps',
        tags,
        params: ActorParamsSchema,
        querystring: ActorQuerySchema,
        response: { 200: ref(ActorDetailSchema) }
      }
    },
    async ({ params, query }, reply) =>
      operator.inspectActor(params.path, { peer: query.peer, signal: hangUpSignal(reply) })
  )

  app.post(
    '/v1/actors/:path/events',
    {
      schema: {
        operationId: 'sendActor',
        summary: 'Sends an event that the actor takes, and answers what it caused',
        tags,
        params: ActorParamsSchema,
        querystring: ActorQuerySchema,
        body: ref(SentEventSchema),
        response: { 200: ref(ActorSentSchema) }
      }
    },
    async (request, reply) => {
      const { params, query, body } = request
      const options = { peer: query.peer, signal: hangUpSignal(reply), by: asker(request) }
      return operator.sendActor(params.path, body, options)
    }
  )

  app.get(
    '/v1/actors/watch',
    {
      schema: {
        operationId: 'watchActors',
        summary: 'Server-sent events: each step of one actor, or of all',
        description:
          'Each event is `{at, path, event, reason, from, to, status, by}`. Of an actor that steps faster than the ' +
          'reader reads, only the newest step comes.',
        tags,
        querystring: ActorWatchQuerySchema,
        response: { 200: { description: 'Steps', content: { 'text/event-stream': { schema: Type.String() } } } }
      }
    },
    async ({ query }, reply) => {
      const out = reply.raw
      const updates = new LatestWins<ActorUpdateJson>(watchedActorsWaitingMax, (update) =>
        write(out, `event: ${update.event ?? 'present'}\ndata: ${JSON.stringify(update)}\n\n`)
      )
      // A watch that is refused answers as an error, so nothing is written before it stands.
      const unwatch = await operator.watchActor(query.path ?? null, (update) => updates.push(update.path, update), {
        peer: query.peer
      })
      reply.hijack()
      out.writeHead(200, {
        'content-type': 'text/event-stream; charset=utf-8',
        'cache-control': 'no-store',
        connection: 'close',
        'x-accel-buffering': 'no'
      })
      out.write(': open\n\n')
      const heartbeat = clock.every(eventHeartbeatMs, () => void (out.writableNeedDrain || out.write(': alive\n\n')))
      const end = (): void => void out.end()
      stopping.addEventListener('abort', end, { once: true })
      const closed = (): void => {
        unwatch()
        updates.close()
        heartbeat.cancel()
        stopping.removeEventListener('abort', end)
      }
      if (out.destroyed) closed()
      else out.once('close', closed)
      if (stopping.aborted) end()
    }
  )
}

/** Waits while the reader is behind. */
function write(out: ServerResponse, text: string): Promise<void> {
  return new Promise((resolve) => {
    if (out.destroyed || out.write(text)) return resolve()
    out.once('drain', resolve)
    out.once('close', resolve)
  })
}

/** Who asks, for the log. */
const asker = ({ raw }: FastifyRequest): string => raw.socket.remoteAddress ?? 'socket'
