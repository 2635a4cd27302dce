import { existsSync } from 'node:fs'
import type { Target } from './target.ts'
import { Failure } from './failure.ts'

const CERTIFICATE_ERRORS: ReadonlySet<string> = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'ERR_TLS_CERT_ALTNAME_INVALID',
  'CERT_HAS_EXPIRED'
])

/** Why no agent answered, guessed from the system's error and from what is on disk, and what to do about it. */
export function explainUnreachable(error: NodeJS.ErrnoException, target: Target): Failure {
  const code = error.code ?? error.message
  const failure = (message: string): Failure =>
    new Failure('unavailable', message, {
      details: target.kind === 'socket' ? { socket: target.path, cause: code } : { api: target.url.href, cause: code }
    })
  if (code === 'ECONNRESET' || code === 'EPIPE') {
    const plain = target.kind === 'url' && target.url.protocol === 'http:'
    const hint = plain ? 'if it speaks HTTPS, write https://, else look at its log' : 'look at its log and try again'
    return failure(`the agent closed the connection before it answered; ${hint}`)
  }
  if (target.kind === 'url') {
    if (CERTIFICATE_ERRORS.has(code)) {
      return failure(
        `the certificate of ${target.url.host} is not known here (${code}); compare its fingerprint with "arctic status" on its host and pin it: arctic context add NAME --api ${target.url.href}`
      )
    }
    if (code === 'ERR_SSL_WRONG_VERSION_NUMBER' || code === 'ERR_SSL_PACKET_LENGTH_TOO_LONG' || code === 'EPROTO') {
      return failure(`${target.url.host} does not speak HTTPS; write http:// if it is an agent on this host`)
    }
    return failure(`no agent answers at ${target.url.href} (${code}); check the address, or use --socket on its host`)
  }
  const { path } = target
  switch (code) {
    case 'EACCES':
    case 'EPERM':
      return failure(`no permission to open socket ${path}; run as root (sudo arctic …), its owner is admin`)
    case 'ENOENT':
      return failure(
        `no agent: socket ${path} does not exist; start one with "arctic agent", or name its socket with --socket`
      )
    case 'ECONNREFUSED':
    case 'ENOTSOCK':
      return failure(
        existsSync(path)
          ? `no agent: socket ${path} exists but nobody listens on it; start one with "arctic agent"`
          : `no agent listens on socket ${path}; start one with "arctic agent"`
      )
    case 'EINVAL':
    case 'ENAMETOOLONG':
      return failure(`socket path ${path} is not usable (unix allows 107 bytes); name another one with --socket`)
    default:
      return failure(
        `socket ${path} cannot be opened (${code}); start an agent with "arctic agent", or name its socket`
      )
  }
}
