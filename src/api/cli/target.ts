import type { FlagValue } from './command.ts'
import type { ContextFile } from './contexts.ts'
import { usageFailure } from './failure.ts'

/** Where the agent is: a unix socket, or a base URL with a token and the certificate's fingerprint to insist on. */
export type Target =
  | { kind: 'socket'; path: string }
  | { kind: 'url'; url: URL; token: string | null; fingerprint: string | null }

type Env = Readonly<Record<string, string | undefined>>

/**
 * The first of: `--socket` or `--api`; `--context`; ARCTIC_API; ARCTIC_SOCKET; ARCTIC_CONTEXT; the context in use; the
 * default socket. A URL that some context has too gets that one's token and fingerprint where none are given.
 */
export async function chooseTarget(flags: Readonly<Record<string, FlagValue>>, env: Env): Promise<Target> {
  const flag = (name: string): string | null => (flags[name] as string | undefined) ?? null
  const [socket, api, named] = [flag('socket'), flag('api'), flag('context')]
  if (socket != null && api != null) throw usageFailure('--socket and --api name two agents; give one of them')
  if (named != null && (socket ?? api) != null) throw usageFailure('--context names an agent too; give one of them')
  if (socket === '') throw usageFailure('--socket is empty')
  const given = { token: flag('token') ?? (env['ARCTIC_TOKEN'] || null), fingerprint: flag('fingerprint') }
  const plain = flags['api-plain'] === true

  if (socket != null) return { kind: 'socket', path: socket }
  const address = api ?? (named == null ? env['ARCTIC_API'] || null : null)
  if (address != null) {
    const url = readUrl(address)
    const { contexts = {} } = (await readContexts(env)) ?? {}
    const same = Object.values(contexts).find((context) => context.api === url.href)
    return remote(
      url,
      { token: given.token ?? same?.token, fingerprint: given.fingerprint ?? same?.fingerprint },
      plain
    )
  }
  if (named == null && env['ARCTIC_SOCKET']) {
    refuseToken(flags)
    return { kind: 'socket', path: env['ARCTIC_SOCKET'] }
  }
  const file = await readContexts(env)
  const name = named ?? (env['ARCTIC_CONTEXT'] || null) ?? file?.current ?? null
  if (name != null) {
    const context = file?.contexts[name]
    if (context == null) throw usageFailure(`there is no context "${name}"; see "arctic context list"`, 'context')
    if (context.api != null) {
      const { token, fingerprint } = context
      return remote(
        readUrl(context.api),
        { token: given.token ?? token, fingerprint: given.fingerprint ?? fingerprint },
        plain
      )
    }
    if (context.socket != null) return { kind: 'socket', path: context.socket }
  }
  refuseToken(flags)
  return { kind: 'socket', path: '/run/arctic/agent.sock' }
}

function refuseToken(flags: Readonly<Record<string, FlagValue>>): void {
  if (flags['token'] != null) throw usageFailure('--token is for --api URL; the socket needs none')
}

function remote(
  url: URL,
  { token = null, fingerprint = null }: { token?: string | null | undefined; fingerprint?: string | null | undefined },
  plain: boolean
): Target {
  if (url.protocol === 'http:' && token != null && !isLocal(url) && !plain) {
    throw usageFailure(
      `${url.href} is plain HTTP to another host, where everybody on the way could read the token; use https://, or --api-plain if the way is safe`
    )
  }
  if (fingerprint == null) return { kind: 'url', url, token, fingerprint: null }
  if (url.protocol !== 'https:') throw usageFailure('--fingerprint is of a certificate, which only https:// has')
  return { kind: 'url', url, token, fingerprint: readFingerprint(fingerprint) }
}

async function readContexts(env: Env): Promise<ContextFile | null> {
  const { contextPath, readContextFile } = await import('./contexts.ts')
  const path = contextPath(env)
  return path == null ? null : readContextFile(path)
}

/** Without a scheme: https, but http for this host. */
export function readUrl(text: string): URL {
  const guessed = text.includes('://') ? text : `http://${text}`
  const url = URL.parse(guessed)
  if (url != null && (url.protocol === 'http:' || url.protocol === 'https:') && url.hostname !== '') {
    return text.includes('://') || isLocal(url) ? url : new URL(`https://${text}`)
  }
  throw usageFailure(`--api "${text}" is not a URL; write for example http://127.0.0.1:8080`)
}

const isLocal = ({ hostname }: URL): boolean =>
  hostname === 'localhost' || hostname === '[::1]' || /^127(\.\d+){3}$/.test(hostname)

/** `AB:CD:…` from that, from plain hex, or from `SHA256:…`. */
export function readFingerprint(text: string): string {
  const hex = text
    .replace(/^sha-?256[:=]/i, '')
    .replaceAll(':', '')
    .toUpperCase()
  if (!/^[0-9A-F]{64}$/.test(hex)) {
    throw usageFailure('--fingerprint is not a SHA-256 fingerprint of 32 bytes in hex, as "arctic status" shows it')
  }
  return hex.match(/../g)!.join(':')
}
