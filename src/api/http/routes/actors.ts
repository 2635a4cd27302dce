import { Type } from 'typebox'
import type { ActorUpdateJson } from '../../../actors/operator/actor-json.ts'
import type { Operator } from '../../../actors/operator/operator.ts'
import type { Clock } from '../../../clock.ts'
import { LatestWins } from '../../../latest-wins.ts'
import { InvalidRequestError } from '../../../errors.ts'
import { EventStream } from '../event-stream.ts'
import { asker } from '../asker.ts'
import type { Access } from '../access.ts'
import { hangUpSignal } from '../hang-up.ts'
import { watchedActorsWaitingMax } from '../limits.ts'
import {
  ActorDetailSchema,
  ActorParamsSchema,
  ActorQuerySchema,
  ActorSchema,
  ActorSendQuerySchema,
  ActorSentSchema,
  ActorWatchQuerySchema,
  SentEventSchema
} from '../schemas/actor.ts'
import { ActivitySchema } from '../schemas/activity.ts'
import { ConnectionsSchema } from '../schemas/connections.ts'
import { NothingSchema, ref } from '../schemas/common.ts'
import type { App } from '../type-provider.ts'

/** The live actors of this agent, or with `?peer=` of another member's. `stopping` ends the watches. */
export function actorRoutes(
  app: App,
  operator: Operator,
  { access, clock, stopping }: { access: Access; clock: Clock; stopping: AbortSignal }
): void {
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
    '/v1/activity',
    {
      config: { demand: { scopes: ['services.read', 'peers.read', 'actors.read'] } },
      schema: {
        operationId: 'activity',
        summary: 'What is going on at an agent: services, tunnels, flows and actors with their counters',
        tags,
        querystring: ActorQuerySchema,
        response: { 200: ref(ActivitySchema) }
      }
    },
    async ({ query }, reply) => operator.activity({ peer: query.peer, signal: hangUpSignal(reply) })
  )

  app.get(
    '/v1/connections',
    {
      // Also of traffic that no service carries.
      config: { demand: { scopes: ['admin'] } },
      schema: {
        operationId: 'connections',
        summary: "What goes through an agent's host, carried or not, each pair of addresses once",
        description:
          'As its kernel tracks it, without the connections of the mesh itself. Of another host for admins alone.',
        tags: ['peers'],
        querystring: ActorQuerySchema,
        response: { 200: ref(ConnectionsSchema) }
      }
    },
    async ({ query }, reply) => operator.connections({ peer: query.peer, signal: hangUpSignal(reply) })
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
        querystring: ActorSendQuerySchema,
        body: ref(SentEventSchema),
        response: { 200: ref(ActorSentSchema), 202: NothingSchema }
      }
    },
    async (request, reply) => {
      const { params, query, body } = request
      const options = { peer: query.peer, signal: hangUpSignal(reply), by: asker(request) }
      if (query.wait !== 'false') return operator.sendActor(params.path, body, options)
      await operator.tellActor(params.path, body, options)
      return reply.code(202).send()
    }
  )

  app.get(
    '/v1/actors/watch',
    {
      // Its headers alone would be an answer without end.
      exposeHeadRoute: false,
      schema: {
        operationId: 'watchActors',
        summary: 'Server-sent events: each step of one actor, or of all',
        description:
          'With `only=end`: one event `ended`, `{status, reason}`, where the status is `unreachable` when the peer of the ' +
          'actor is not there to tell. Else each event is `{at, path, event, reason, from, to, status, by}`. Of an actor that steps faster than the ' +
          'reader reads, only the newest step comes.',
        tags,
        querystring: ActorWatchQuerySchema,
        response: { 200: { description: 'Steps', content: { 'text/event-stream': { schema: Type.String() } } } }
      }
    },
    async (request, reply) => {
      const { path, peer, only } = request.query
      const isWelcome = (): boolean => access.isStillGood(request)
      const stream = new EventStream(reply.raw, { clock, stopping, isWelcome })
      // A watch that is refused answers as an error, so nothing is written before it stands.
      const release = only === 'end' ? await monitor(stream, path, peer) : await watch(stream, path, peer)
      reply.hijack()
      stream.open(release)
    }
  )

  async function watch(stream: EventStream, path: string | undefined, peer: string | undefined): Promise<() => void> {
    const updates = new LatestWins<ActorUpdateJson>(watchedActorsWaitingMax, (update) =>
      stream.write(update.event ?? 'present', update)
    )
    const unwatch = await operator.watchActor(path ?? null, (update) => updates.push(update.path, update), {
      peer,
      onEnd: () => stream.end()
    })
    return () => {
      unwatch()
      updates.close()
    }
  }

  async function monitor(stream: EventStream, path: string | undefined, peer: string | undefined): Promise<() => void> {
    if (path == null) throw new InvalidRequestError('"only=end" needs the "path" of one actor')
    return operator.monitorActor(path, (notice) => void stream.write('ended', notice).then(() => stream.end()), {
      peer
    })
  }
}
