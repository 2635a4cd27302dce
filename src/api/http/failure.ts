import type { IncomingMessage } from 'node:http'
import { type Duplex, finished } from 'node:stream'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { ArcticError, type ErrorBody, InvalidRequestError, toErrorBody, UnavailableError } from '../../errors.ts'
import type { Logger } from '../../log.ts'
import { apiBodyBytesMax } from '../../limits.ts'
import { discardedBytesMax, headerBytesMax, refusedBodyBytesMax } from './limits.ts'
import { HangUpError } from './hang-up.ts'
import { refusal } from './refusal.ts'
import type { App } from './type-provider.ts'

/**
 * Every failure leaves the server as `{"error": {code, message, details}}`. Refusals of HTTP itself (405, 408, 413, 415,
 * 431) keep their own status and say `invalid_request`.
 */
export function answerFailures(app: App, log: Logger): void {
  app.setErrorHandler((error, request, reply) => answer(error, request, reply, log))
  const paths = rememberPaths(app)
  app.setNotFoundHandler((request, reply) => {
    const path = request.url.split('?', 1)[0] ?? ''
    const methods = paths(path)
    if (methods.length === 0) {
      const error = new ArcticError('not_found', `nothing is at ${short(path)}; see GET /v1/openapi.json`)
      return send(reply, error.status, error.toJSON())
    }
    const allowed = methods.join(', ')
    void reply.header('allow', allowed)
    const message = `${request.method} is not possible at ${short(path)}; it takes ${allowed}`
    return send(reply, 405, new InvalidRequestError(message, { allow: methods }).toJSON())
  })
}

/** For what fails before a route is found, such as a path with a broken percent sign. */
export function answerFrameworkFailure(error: Error, request: FastifyRequest, reply: FastifyReply, log: Logger): void {
  void answer(error, request, reply, log)
}

/** For bytes that are not HTTP, and for clients that are too slow; no request exists then. */
export function answerClientError(error: Error & { code?: string }, socket: Duplex): void {
  if (!socket.writable || error.code === 'ECONNRESET') {
    socket.destroy()
    return
  }
  const [status, message] = clientFailure(error.code)
  const body = JSON.stringify({ error: new InvalidRequestError(message).toJSON() })
  socket.end(
    `HTTP/1.1 ${status}\r\ncontent-type: application/json; charset=utf-8\r\nconnection: close\r\n` +
      `content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`
  )
}

function clientFailure(code: string | undefined): [status: string, message: string] {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return ['431 Request Header Fields Too Large', `the headers exceed ${headerBytesMax} bytes; send fewer`]
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return ['408 Request Timeout', 'the request did not arrive in time; send it at once']
    default:
      return ['400 Bad Request', 'this is not an HTTP/1.1 request; speak plain HTTP here']
  }
}

async function answer(
  error: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
  log: Logger
): Promise<FastifyReply> {
  const [status, body] = explain(error, request.routeOptions.bodyLimit)
  if (status >= 500 && body.code === 'internal') {
    log.error({ error, method: request.method, path: request.routeOptions.url ?? null }, 'a request failed by a bug')
  }
  if (status === 413) await discardBody(request.raw, discardedBytesMax)
  if (NOT_LET_IN.has(status) && hasBody(request.raw)) {
    await discardBody(request.raw, refusedBodyBytesMax)
    void reply.header('connection', 'close')
  }
  if (status === 401) void reply.header('www-authenticate', 'Bearer')
  return send(reply, status, body)
}

/** Whoever is refused for what he is, or does too often, does not get his body read. */
const NOT_LET_IN: ReadonlySet<number> = new Set([401, 403, 429])

const hasBody = ({ headers }: IncomingMessage): boolean =>
  headers['transfer-encoding'] != null || Number(headers['content-length'] ?? 0) > 0

/**
 * A connection that is closed with unread bytes in it is reset, and the client loses the refusal. So the rest of a body
 * that is too large is read and thrown away first, up to `bytesMax`; its time is limited as every request's.
 */
function discardBody(request: IncomingMessage, bytesMax: number): Promise<void> {
  return new Promise((resolve) => {
    let bytes = 0
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length
      if (bytes > bytesMax) resolve()
    })
    finished(request, () => resolve())
    request.resume()
  })
}

const send = (reply: FastifyReply, status: number, error: ErrorBody): FastifyReply =>
  reply.code(status).type('application/json; charset=utf-8').send({ error })

interface FastifyFailure {
  code?: string
  statusCode?: number
  validation?: Parameters<typeof refusal>[0]
  validationContext?: string
}

function explain(error: unknown, bodyLimit?: number): [status: number, body: ErrorBody] {
  if (error instanceof ArcticError) return [error.status, error.toJSON()]
  if (error instanceof HangUpError) return [503, new UnavailableError(error.message).toJSON()]
  const { code, statusCode, validation, validationContext } = (error ?? {}) as FastifyFailure
  if (validation != null) return [400, refusal(validation, validationContext ?? 'request').toJSON()]
  const invalid = (status: number, message: string): [number, ErrorBody] => [
    status,
    new InvalidRequestError(message).toJSON()
  ]
  switch (code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return invalid(413, `the body exceeds ${bodyLimit ?? apiBodyBytesMax} bytes; send less at a time`)
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return invalid(415, 'the body has another type than JSON; send it with "Content-Type: application/json"')
    case 'FST_ERR_CTP_INVALID_JSON_BODY':
      return invalid(400, 'the body is not valid JSON; check quotes, commas and braces')
    case 'FST_ERR_MAX_PARAM_LENGTH':
      return invalid(414, 'a part of the path is too long to name anything; check the id')
    case 'FST_ERR_BAD_URL':
      return invalid(400, 'the path is not valid; encode special characters as %XX')
    default:
  }
  if (statusCode != null && statusCode >= 400 && statusCode < 500) {
    return invalid(statusCode, `${(error as Error).message}; see GET /v1/openapi.json`)
  }
  return [500, toErrorBody(error)]
}

/** Collects the routes as they are declared; the answer is the methods that a path would take. */
function rememberPaths(app: App): (path: string) => string[] {
  const routes: Array<{ pattern: RegExp; method: string }> = []
  app.addHook('onRoute', ({ url, method }) => {
    const pattern = new RegExp(`^${url.replaceAll('.', '\\.').replaceAll(/:[^/]+/g, '[^/]+')}$`)
    for (const one of [method].flat()) routes.push({ pattern, method: one })
  })
  return (path) => [...new Set(routes.filter(({ pattern }) => pattern.test(path)).map(({ method }) => method))]
}

const short = (path: string): string => (path.length > 100 ? `${path.slice(0, 100)}…` : path)
