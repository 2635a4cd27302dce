import { existsSync } from 'node:fs'
import type { Target } from './client.ts'
import { Failure } from './failure.ts'

/** Why no agent answered, guessed from the system's error and from what is on disk, and what to do about it. */
export function explainUnreachable(error: NodeJS.ErrnoException, target: Target): Failure {
  const code = error.code ?? error.message
  const failure = (message: string): Failure =>
    new Failure('unavailable', message, {
      details: target.kind === 'socket' ? { socket: target.path, cause: code } : { api: target.url.href, cause: code }
    })
  if (code === 'ECONNRESET' || code === 'EPIPE') {
    return failure('the agent closed the connection before it answered; look at its log and try again')
  }
  if (target.kind === 'url') {
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
