import type { RequestListener, Server } from 'node:http'
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https'
import fastify from 'fastify'
import type { Operator } from '../../actors/operator/operator.ts'
import { asCaller } from '../../caller.ts'
import type { Clock } from '../../clock.ts'
import { TooManyRequestsError } from '../../errors.ts'
import { apiBodyBytesMax } from '../../limits.ts'
import type { Logger } from '../../log.ts'
import { createServer } from '../../node-http.ts'
import type { Applier } from '../declare/applier.ts'
import type { Access } from './access.ts'
import type { EventHub } from './event-hub.ts'
import { answerClientError, answerFailures, answerFrameworkFailure } from './failure.ts'
import { Idempotency } from './idempotency.ts'
import { refuseConditions } from './if-match.ts'
import { bodyText, refuseRepeatedFields } from './json-body.ts'
import {
  connectionsMax,
  headerBytesMax,
  headersTimeoutMs,
  keepAliveTimeoutMs,
  pathParameterCharsMax,
  requestTimeoutMs,
  tlsHandshakeTimeoutMs
} from './limits.ts'
import { describeApi } from './openapi.ts'
import { actorRoutes } from './routes/actors.ts'
import { RateLimit } from './rate-limit.ts'
import { agentRoutes } from './routes/agent.ts'
import { diagnosticsRoutes } from './routes/diagnostics.ts'
import { clusterRoutes } from './routes/cluster.ts'
import { declareRoutes } from './routes/declare.ts'
import { eventRoutes } from './routes/events.ts'
import { historyRoutes } from './routes/history.ts'
import { licenseRoutes } from './routes/license.ts'
import { peerRoutes } from './routes/peers.ts'
import { routeRoutes } from './routes/routes.ts'
import { serviceRoutes } from './routes/services.ts'
import { tokenRoutes } from './routes/tokens.ts'
import { demandScopes } from './scopes.ts'
import type { KeyPair } from './tls/api-tls.ts'
import type { App, TypeBoxProvider } from './type-provider.ts'
import { Validators } from './validators.ts'

export interface AppParts {
  operator: Operator
  applier: Applier
  hub: EventHub
  access: Access
  clock: Clock
  log: Logger
  version: string
  stopping: AbortSignal
}

/** A server of the application; HTTPS when it gets a certificate. */
export interface NewServer {
  (): Server
  (pair: KeyPair): TlsServer
}

/** The application without any listener; `newServer` makes an HTTP server in front of it, as many as there are doors. */
export async function createApp(parts: AppParts): Promise<{ app: App; newServer: NewServer }> {
  const { operator, applier, hub, access, clock, log, version, stopping } = parts
  let listener: RequestListener | undefined
  const newServer = ((pair?: KeyPair): Server | TlsServer => {
    const server =
      pair == null
        ? createServer(serverOptions, listener)
        : createTlsServer({ ...serverOptions, ...pair, handshakeTimeout: tlsHandshakeTimeoutMs }, listener)
    server.maxConnections = connectionsMax
    server.on('clientError', answerClientError)
    return server
  }) as NewServer
  const validators = new Validators()
  const app: App = fastify<Server>({
    logger: false,
    bodyLimit: apiBodyBytesMax,
    routerOptions: { maxParamLength: pathParameterCharsMax },
    schemaController: { compilersFactory: { buildValidator: validators.build, buildSerializer } },
    frameworkErrors: (error, request, reply) => answerFrameworkFailure(error, request, reply, log),
    serverFactory: (handler) => {
      listener = handler
      return newServer()
    }
  }).withTypeProvider<TypeBoxProvider>()

  app.addHook('preValidation', (request) => validators.loadFor(request))
  readBodies(app)
  const limit = new RateLimit(clock)
  app.addHook('onRequest', async (request, reply) => {
    if (!access.isTrusted(request)) {
      const waitMs = limit.take(request.raw.socket.remoteAddress ?? '')
      if (waitMs > 0) {
        void reply.header('retry-after', Math.ceil(waitMs / 1000))
        throw new TooManyRequestsError(waitMs)
      }
    }
    access.check(request)
  })
  // A connection that stays open after its answer would hold up the stop.
  app.addHook('onSend', async (_request, reply) => {
    if (stopping.aborted) void reply.header('connection', 'close')
  })
  refuseConditions(app)
  new Idempotency(clock).install(app)
  // Last before the handler, so that all it does is done for its caller.
  app.addHook('preHandler', (request, _reply, done) => asCaller(access.callerOf(request), done))
  logAccess(app, access, { clock, log })
  answerFailures(app, log)
  demandScopes(app)
  await describeApi(app, version)

  serviceRoutes(app, operator)
  routeRoutes(app, operator)
  peerRoutes(app, operator, access)
  clusterRoutes(app, operator, access)
  historyRoutes(app, operator, access)
  licenseRoutes(app, operator)
  tokenRoutes(app, operator, access)
  declareRoutes(app, applier, operator)
  agentRoutes(app, operator, access)
  diagnosticsRoutes(app, operator)
  actorRoutes(app, operator, { access, clock, stopping })
  eventRoutes(app, hub, { access, clock, stopping })
  await app.ready()
  return { app, newServer }
}

/** Answers are what the operator says, whole: a schema-driven serialiser would drop what a schema forgets. */
const buildSerializer = () => () => (data: unknown) => JSON.stringify(data)

const serverOptions = {
  maxHeaderSize: headerBytesMax,
  headersTimeout: headersTimeoutMs,
  requestTimeout: requestTimeoutMs,
  keepAliveTimeout: keepAliveTimeoutMs,
  // A missing Host is answered by `Access` in the form of every other refusal.
  requireHostHeader: false
}

/**
 * Bodies are JSON in UTF-8, as they are. `POST /v1/cluster/init` with no body, or an empty one, is `{}`: all its fields are
 * optional.
 */
function readBodies(app: App): void {
  const parse = app.getDefaultJsonParser('error', 'error')
  app.removeContentTypeParser('text/plain')
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (request, bytes, done) => {
    try {
      const text = bodyText(bytes as Buffer)
      if (text === '') return done(null, {})
      void parse(request, text, (error, body) => {
        try {
          if (error == null) refuseRepeatedFields(text)
          done(error, body)
        } catch (refused) {
          done(refused as Error)
        }
      })
    } catch (refused) {
      done(refused as Error)
    }
  })
  app.addHook('preParsing', async ({ headers }) => {
    const encoding = headers['content-encoding']
    if (encoding == null || encoding === 'identity') return
    throw Object.assign(new Error('the body has a Content-Encoding; send it as it is'), { statusCode: 415 })
  })
  app.addHook('preValidation', async (request) => {
    if (request.body === undefined && (request.method === 'POST' || request.method === 'PUT')) request.body = {}
  })
}

/** One line per request: changes are life events, questions are not. */
function logAccess(app: App, access: Access, { clock, log }: { clock: Clock; log: Logger }): void {
  const started = new WeakMap<object, number>()
  app.addHook('onRequest', async (request) => void started.set(request, clock.monotonic()))
  app.addHook('onResponse', async (request, reply) => {
    const { method } = request
    const fields = {
      method,
      path: request.url.split('?', 1)[0],
      status: reply.statusCode,
      ms: Math.round((clock.monotonic() - (started.get(request) ?? clock.monotonic())) * 10) / 10,
      from: request.raw.socket.remoteAddress ?? 'socket',
      token: access.callerOf(request)?.id
    }
    if (method === 'GET' || method === 'HEAD' || reply.statusCode >= 400) log.debug(fields, 'request')
    else log.info(fields, 'request')
  })
}
