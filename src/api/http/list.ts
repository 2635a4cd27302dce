import { Readable } from 'node:stream'
import { setImmediate } from 'node:timers/promises'
import type { FastifyReply } from 'fastify'
import { Type } from 'typebox'
import { InvalidRequestError } from '../../errors.ts'
import { listPieceMax, pageRowsMax } from './limits.ts'

/** Query parameters of every list. Query values are text. */
export const pageParameters = {
  limit: Type.Optional(
    Type.String({
      minLength: 1,
      description: `at most so many rows, 1 to ${pageRowsMax}; then in the order of their ids`
    })
  ),
  after: Type.Optional(
    Type.String({ minLength: 1, description: 'only rows with a greater id: the `Next-Page-Token` of the page before' })
  )
}

interface PageQuery {
  limit?: string
  after?: string
}

/**
 * Answers with a list, whole or one page of it. A page goes by id, so that every row that is there from the first page
 * to the last is in exactly one of them, whatever is made or deleted in between; the headers `Next-Page-Token` and
 * `Link` (RFC 8288) say where the next one begins.
 *
 * A long list is written piece by piece, with the event loop free in between: 10,000 services are 7 MB of JSON, which
 * at once would hold up everything else that the agent does.
 */
export function sendList(
  reply: FastifyReply,
  rows: ReadonlyArray<{ id: string }>,
  { limit, after }: PageQuery = {}
): FastifyReply {
  const shown = limit == null && after == null ? rows : page(reply, rows, readLimit(limit), after)
  if (shown.length <= listPieceMax) return reply.send(shown)
  return reply.type('application/json; charset=utf-8').send(Readable.from(pieces(shown), { objectMode: false }))
}

/** A whole number from 1 to `max`; InvalidRequestError. */
export function readLimit(text: string | undefined, max = pageRowsMax): number {
  if (text == null) return max
  const limit = /^\d{1,9}$/.test(text) ? Number(text) : 0
  if (limit >= 1 && limit <= max) return limit
  throw new InvalidRequestError(`"limit" must be a whole number from 1 to ${max}, not "${text.slice(0, 40)}"`, {
    field: 'limit',
    in: 'query'
  })
}

function page(
  reply: FastifyReply,
  rows: ReadonlyArray<{ id: string }>,
  limit: number,
  after = ''
): ReadonlyArray<{ id: string }> {
  const rest = rows.filter(({ id }) => id > after).sort((a, b) => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0))
  const shown = rest.slice(0, limit)
  const last = shown.at(-1)
  if (last == null || rest.length === shown.length) return shown
  const next = new URL(reply.request.url, 'http://localhost')
  next.searchParams.set('limit', String(limit))
  next.searchParams.set('after', last.id)
  void reply.header('next-page-token', last.id)
  void reply.header('link', `<${next.pathname}${next.search}>; rel="next"`)
  return shown
}

async function* pieces(rows: readonly unknown[]): AsyncGenerator<string> {
  for (let at = 0; at < rows.length; at += listPieceMax) {
    const text = rows.slice(at, at + listPieceMax).map((row) => JSON.stringify(row))
    yield `${at === 0 ? '[' : ','}${text.join(',')}`
    await setImmediate()
  }
  yield ']'
}
