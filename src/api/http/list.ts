import { Readable } from 'node:stream'
import { setImmediate } from 'node:timers/promises'
import type { FastifyReply } from 'fastify'
import { listPieceMax } from './limits.ts'

/**
 * Answers with a list. A long one is written piece by piece, with the event loop free in between: 10,000 services are
 * 7 MB of JSON, which at once would hold up everything else that the agent does.
 */
export function sendList<T>(reply: FastifyReply, rows: readonly T[]): FastifyReply {
  if (rows.length <= listPieceMax) return reply.send(rows)
  return reply.type('application/json; charset=utf-8').send(Readable.from(pieces(rows), { objectMode: false }))
}

async function* pieces(rows: readonly unknown[]): AsyncGenerator<string> {
  for (let at = 0; at < rows.length; at += listPieceMax) {
    const text = rows.slice(at, at + listPieceMax).map((row) => JSON.stringify(row))
    yield `${at === 0 ? '[' : ','}${text.join(',')}`
    await setImmediate()
  }
  yield ']'
}
