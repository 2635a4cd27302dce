import { ArcticError } from '../../src/errors.ts'
import type { Logger } from '../../src/log.ts'
import type { SimHost } from './host.ts'

/** What an agent says. A line at level error means "we are broken", so it is a violation unless a fault explains it. */
export function hostLogger(host: SimHost): Logger {
  const ignore = (): void => {}
  const logger: Logger = {
    trace: ignore,
    debug: ignore,
    info: ignore,
    warn: ignore,
    error: (fields, message) => {
      if (host.disk.full || host.kernel.refuses) return
      const { error, peer } = fields as { error?: unknown; peer?: string }
      // Of a disk that was full, as a host hears it that has stood still since.
      if (error instanceof ArcticError && error.details['errno'] === 'ENOSPC') return
      if (peer != null && host.world.outcasts.has(peer)) return
      const why =
        error instanceof Error ? `${error.name}: ${error.message}` : error == null ? '' : JSON.stringify(error)
      host.world.violate('errors', `${host.name}: ${message}${why === '' ? '' : ` (${why})`}`)
    },
    module: () => logger
  }
  return logger
}
