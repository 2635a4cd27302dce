import type { ComponentLogger, Logger } from '@libp2p/interface'

/**
 * libp2p's own log, which is for who works on libp2p: it is written when `DEBUG` names parts of it. Without, a logger of names and
 * colours is made for each connection, stream and layer, and asked several times for each message, to write nothing.
 */
export function libp2pLog(environment: NodeJS.ProcessEnv): ComponentLogger | undefined {
  return environment.DEBUG == null ? { forComponent: () => nothing } : undefined
}

const nothing: Logger = Object.assign((): void => {}, {
  error(): void {},
  trace(): void {},
  enabled: false,
  newScope: () => nothing
})
