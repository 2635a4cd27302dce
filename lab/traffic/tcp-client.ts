/**
 * One TCP connection by instruction, told as JSON: `{address, port, from?, send?, sendBytes?, end?, resetAfter?, waitMs}`.
 * `from` is the own address and port to use; `send` is a text, `sendBytes` that many bytes of payload; `end` closes the sending half afterwards; `resetAfter` resets
 * the connection once that many bytes have been received. It ends when the other side has ended, or after `waitMs`.
 */
import { createHash } from 'node:crypto'
import { connect } from 'node:net'
import { systemClock } from '../../src/clock.ts'
import { payload } from './payload.ts'
import { argumentsOf, say } from './say.ts'

export interface TcpOrder {
  address: string
  port: number
  from?: { address?: string; port?: number }
  send?: string
  sendBytes?: number
  end?: boolean
  resetAfter?: number
  waitMs: number
}

export interface TcpOutcome {
  connected: boolean
  /** `end`: the other side closed in order. `open`: it had not when the time was up. Else an errno name. */
  how: string
  received: number
  /** The first 256 bytes, as text. */
  text: string
  sha256: string
  local: string
  connect_ms: number | null
  ms: number
}

const order = JSON.parse(argumentsOf('ORDER')[0] ?? '') as TcpOrder
const start = systemClock.monotonic()
const hash = createHash('sha256')
const outcome: TcpOutcome = {
  connected: false,
  how: 'open',
  received: 0,
  text: '',
  sha256: '',
  local: '',
  connect_ms: null,
  ms: 0
}
const socket = connect({
  host: order.address,
  port: order.port,
  localAddress: order.from?.address,
  localPort: order.from?.port,
  allowHalfOpen: true
})

const finished = new Promise<void>((resolve) => {
  socket.on('connect', () => {
    outcome.connected = true
    outcome.connect_ms = systemClock.monotonic() - start
    outcome.local = `${socket.localAddress}:${socket.localPort}`
    if (order.send != null) socket.write(order.send)
    if (order.sendBytes != null) socket.write(payload('upload', order.sendBytes))
    if (order.end === true) socket.end()
    if (order.resetAfter === 0) reset()
  })
  socket.on('data', (chunk) => {
    hash.update(chunk)
    outcome.received += chunk.length
    if (outcome.text.length < 256) outcome.text = (outcome.text + chunk.toString('latin1')).slice(0, 256)
    if (order.resetAfter != null && outcome.received >= order.resetAfter) reset()
  })
  const reset = (): void => {
    socket.resetAndDestroy()
    outcome.how = 'reset by client'
    resolve()
  }
  socket.on('end', () => {
    outcome.how = 'end'
    socket.end(resolve)
  })
  socket.on('error', (error: NodeJS.ErrnoException) => {
    outcome.how = error.code ?? error.message
    resolve()
  })
})
await Promise.race([finished, systemClock.sleep(order.waitMs)])
say('done', { ...outcome, sha256: hash.digest('hex'), ms: systemClock.monotonic() - start })
process.exit(0)
