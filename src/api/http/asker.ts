import type { FastifyRequest } from 'fastify'
import { viaNow } from '../../caller.ts'

/** Who asks, for the log. */
export const asker = ({ raw }: FastifyRequest): string => viaNow() ?? raw.socket.remoteAddress ?? 'socket'
