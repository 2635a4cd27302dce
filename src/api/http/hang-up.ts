import type { FastifyReply } from 'fastify'

/** Why work for a client that has gone is given up. Nobody reads the answer, and it is no bug. */
export class HangUpError extends Error {
  constructor() {
    super('the client closed the connection')
    this.name = 'HangUpError'
  }
}

/** A signal that aborts when the client goes away before its answer is complete. */
export function hangUpSignal(reply: FastifyReply): AbortSignal {
  const controller = new AbortController()
  reply.raw.once('close', () => {
    if (!reply.raw.writableFinished) controller.abort(new HangUpError())
  })
  return controller.signal
}
