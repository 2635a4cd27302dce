/**
 * Flows to an echo server, AT_ONCE of them at any time, whose every byte is known from SEED: each sends its bytes, ends its
 * half and compares what comes back, byte for byte, as it comes. Says `begun`. After SIGTERM no new one begins; says `done` once all have
 * ended or nothing has moved in one for PATIENCE_MS.
 *
 *   whole  everything came back, then the end       reset   an error; what had come was right
 *   cut    an end before everything had come         wrong   a byte that is not the one that was sent
 *   hung   neither an end nor an error               refused it never connected
 */
import { connect } from 'node:net'
import { systemClock } from '../../src/clock.ts'
import { SeededRandom } from '../../sim/random.ts'
import { argumentsOf, say } from './say.ts'

const [address, port, seed, atOnce] = argumentsOf('ADDRESS', 'PORT', 'SEED', 'AT_ONCE') as [
  string,
  string,
  string,
  string
]
const PATIENCE_MS = 30_000
const BYTES_MAX = 1 << 21
const CHUNK_BYTES = 16 * 1024
/** A prime, so that no length that programs like brings the same bytes to the same place. */
const TABLE_BYTES = 65_521

type End = 'whole' | 'cut' | 'reset' | 'wrong' | 'hung' | 'refused'

const random = new SeededRandom(seed)
const table = Buffer.from(random.bytes(TABLE_BYTES))
const ends: Record<End, number> = { whole: 0, cut: 0, reset: 0, wrong: 0, hung: 0, refused: 0 }
let bytes = 0
let flows = 0
const stop = new AbortController()
process.on('SIGTERM', () => stop.abort())

say('begun')
await Promise.all(Array.from({ length: Number(atOnce) }, worker))
say('done', { ...ends, bytes })
process.exit(0)

async function worker(): Promise<void> {
  while (!stop.signal.aborted) {
    // Most are small, a few are large: both are common, and they break in different ways.
    const length = Math.ceil(random.float() ** 4 * BYTES_MAX) || 1
    const end = await flow(flows++, length)
    ends[end] += 1
    if (end === 'wrong') say('wrong', { length })
    if (end === 'refused') await systemClock.sleep(50)
  }
}

function flow(key: number, length: number): Promise<End> {
  return new Promise((resolve) => {
    const socket = connect({ host: address, port: Number(port), allowHalfOpen: true })
    let [sent, got, connected] = [0, 0, false]
    let patience = systemClock.after(PATIENCE_MS, () => finish('hung'))
    const moved = (): void => {
      patience.cancel()
      patience = systemClock.after(PATIENCE_MS, () => finish('hung'))
    }
    const finish = (end: End): void => {
      patience.cancel()
      socket.removeAllListeners()
      socket.on('error', () => {})
      socket.destroy()
      bytes += got
      resolve(end)
    }
    const push = (): void => {
      while (sent < length) {
        const size = Math.min(CHUNK_BYTES, length - sent)
        const more = socket.write(content(key, sent, size))
        sent += size
        if (!more) return
      }
      socket.end()
    }
    socket.on('connect', () => {
      connected = true
      moved()
      push()
    })
    socket.on('drain', () => {
      moved()
      if (sent < length) push()
    })
    socket.on('data', (chunk: Buffer) => {
      moved()
      if (got + chunk.length > length || !chunk.equals(content(key, got, chunk.length))) finish('wrong')
      got += chunk.length
    })
    socket.on('end', () => finish(got === length ? 'whole' : 'cut'))
    socket.on('error', (error: NodeJS.ErrnoException) => {
      say('error', { code: error.code ?? error.message, connected, got, from: socket.localPort ?? null })
      finish(connected ? 'reset' : 'refused')
    })
  })
}

/** `size` bytes of flow `key` from `offset` on. */
function content(key: number, offset: number, size: number): Buffer {
  const made = Buffer.allocUnsafe(size)
  for (let i = 0; i < size; i++) {
    const at = offset + i
    made[i] = table[(at + key * 7919) % TABLE_BYTES]! ^ Math.floor(at / TABLE_BYTES) ^ key
  }
  return made
}
