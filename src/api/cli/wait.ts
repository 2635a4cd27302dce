import type { WaitJson } from '../../actors/operator/operator.ts'
import type { AskOptions, Client } from './client.ts'
import type { Context, Flag, Input } from './command.ts'
import { Failure } from './failure.ts'
import { longRequestTimeoutMs } from './limits.ts'

/** Of every command that changes what the cluster shares. */
export const waitFlag: Flag = {
  name: 'wait',
  kind: 'duration',
  bare: true,
  placeholder: 'DURATION',
  help: 'return once every reachable peer concerned has it in force, or name those that have not in time (30s)'
}

export interface Waited<T> {
  body: T
  /** Null when it was not waited. */
  wait: WaitJson | null
}

/** A request that changes something, and how waiting for it went. */
export async function change<T>(
  api: Client,
  method: 'POST' | 'PUT' | 'DELETE',
  path: string,
  { flags, ...options }: AskOptions & Pick<Input, 'flags'>
): Promise<Waited<T>> {
  const { wait } = flags
  const waiting =
    wait == null ? {} : { query: { wait: wait === true ? wait : `${wait}s` }, timeoutMs: longRequestTimeoutMs }
  const { body, headers } = await api.exchange(method, path, { ...options, ...waiting })
  const told = headers['arctic-wait']?.toString()
  return { body: body as T, wait: told == null ? null : (JSON.parse(told) as WaitJson) }
}

/** What a command prints, with how waiting for it went. */
export const withWait = <T extends object>(value: T, wait: WaitJson | null): T & { wait?: WaitJson } =>
  wait == null ? value : { ...value, wait }

/** To be called when the object is printed: exit 1 and a line that names the stragglers, if there are any. */
export function judge({ print }: Pick<Context, 'print'>, wait: WaitJson | null): void {
  if (wait == null) return
  const away = names(wait.unreachable)
  if (away !== '') print.remark(`not waited for: ${away}; what does not answer takes it over when it is back`)
  if (wait.done) return
  const who = [...new Map(wait.stragglers.map((one) => [one.peer, one])).values()]
  const which = who.map(({ name, reason, message }) => `${name} (${reason}: ${message})`).join(', ')
  const more = wait.more === 0 ? '' : ` and ${wait.more} more`
  const service = wait.stragglers[0]?.service_id
  const again = service == null ? 'cluster status' : `services get ${service}`
  throw new Failure(
    'unavailable',
    `it is written, but after ${(wait.waited_ms / 1000).toFixed(1)} s not in force on ${which}${more}; look again with "arctic ${again}"`,
    { exitCode: 1, details: { ...wait } }
  )
}

const names = (peers: ReadonlyArray<{ name: string }>): string => [...new Set(peers.map(({ name }) => name))].join(', ')
