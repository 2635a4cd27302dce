import { pino, stdSerializers, type Logger as PinoLogger } from 'pino'
import { TogetherPerTurn } from './log-together.ts'

/**
 * Structured logs on stderr. Every line has `module`, the folder path of its author (`mesh:sync`), because an operator
 * greps by part. Levels follow consequence: per packet or message trace, a branch taken debug, a life event info,
 * "wake someone" warn, "we are broken" error.
 */
export interface Logger {
  trace(fields: object, message: string): void
  debug(fields: object, message: string): void
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
  /** The same logger under another `module`. */
  module(name: string): Logger
}

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'silent'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]
export type LogFormat = 'json' | 'pretty'

export interface LogOptions {
  level: LogLevel
  format: LogFormat
  peer?: string
  /** Gets each line as well, as JSON whatever the format. */
  tail?: { add(line: string): void }
}

/** `root` has no module, so that a module's module is not written twice into one line. */
const wrap = (root: PinoLogger, module: string): Logger => {
  const log = root.child({ module })
  return {
    trace: (fields, message) => log.trace(fields, message),
    debug: (fields, message) => log.debug(fields, message),
    info: (fields, message) => log.info(fields, message),
    warn: (fields, message) => log.warn(fields, message),
    error: (fields, message) => log.error(fields, message),
    module: (name) => wrap(root, name)
  }
}

/** A logger on stderr. `pretty` is for people at a terminal, `json` for everything that reads logs. */
export async function createLogger({ level, format, peer, tail }: LogOptions): Promise<Logger> {
  const options = {
    level,
    base: peer == null ? null : { peer },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    messageKey: 'message',
    errorKey: 'error',
    serializers: { error: stdSerializers.err }
  }
  const both = (out: { write(line: string): unknown }): { write(line: string): void } => ({
    write(line) {
      tail?.add(line)
      out.write(line)
    }
  })
  if (format === 'json') {
    const out = new TogetherPerTurn(pino.destination({ fd: 2, sync: true }))
    return wrap(pino(options, both(out)), 'agent')
  }
  const { default: pretty } = await import('pino-pretty')
  const stream = pretty({
    destination: 2,
    sync: true,
    messageKey: 'message',
    ignore: 'peer,module',
    messageFormat: '{module}  {message}',
    translateTime: 'SYS:HH:MM:ss.l'
  })
  return wrap(pino(options, both(stream)), 'agent')
}

/** Says nothing; for tests and for code that is used without an agent. */
export const silentLogger: Logger = {
  trace: () => {},
  debug: () => {},
  info: () => {},
  warn: () => {},
  error: () => {},
  module: () => silentLogger
}
