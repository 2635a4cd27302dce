/**
 * A small engine that follows engines/PROTOCOL.md and moves no bytes: what the clients under test need to see of one.
 * Run as `protocol-engine.ts NAME --control PATH`; it notes each state it was told in `PATH.states`, and drops
 * its clients at SIGUSR2.
 */
import { appendFileSync, rmSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { createInterface } from 'node:readline'

const [name = '', , path = ''] = process.argv.slice(2)
const clients = new Set<Socket>()
let generation: number | null = null
let listeners: { name: string; port: number }[] = []

interface Told {
  type: string
  id?: number
  generation: number
  secrets?: { private_key?: string }
  state: { listeners?: { name: string; port: number }[]; outbound?: { service_id: string; transport: string }[] }
}

const server = createServer((socket) => {
  clients.add(socket)
  socket.on('close', () => clients.delete(socket))
  socket.on('error', () => {})
  const say = (message: object): void => void socket.write(`${JSON.stringify(message)}\n`)
  say({ type: 'hello', engine: name, version: '0.0.1', protocol: 1, pid: process.pid, generation, listeners })
  createInterface({ input: socket }).on('line', (line) => {
    const told = JSON.parse(line) as Told
    if (told.type === 'apply') {
      appendFileSync(`${path}.states`, `${JSON.stringify({ generation: told.generation, state: told.state })}\n`)
      generation = told.generation
      listeners = (told.state.listeners ?? []).map((l, i) => ({ name: l.name, port: l.port || 41000 + i }))
      const errors = (told.state.outbound ?? [])
        .filter(({ transport }) => transport === 'kcp')
        .map(({ service_id }) => ({
          object: `service:${service_id}`,
          code: 'TransportUnsupported',
          message: 'no KCP here'
        }))
      if (told.secrets?.private_key == null) errors.push({ object: 'engine', code: 'NoKey', message: 'no private key' })
      say({ type: 'applied', generation, listeners, errors })
    } else if (told.type === 'stats') {
      say({
        type: 'stats',
        id: told.id,
        services: [],
        peers: [],
        tunnels: [],
        refused_total: 0,
        events_dropped: 0,
        rss_bytes: 1
      })
    } else if (told.type === 'ping') {
      say({ type: 'pong', id: told.id })
    } else if (told.type === 'drain') {
      say({ type: 'draining' })
      end()
    } else {
      say({ type: 'error', code: 'unknown_type', message: told.type })
    }
  })
})
rmSync(path, { force: true })
server.listen(path)
console.error(JSON.stringify({ time: new Date().toISOString(), level: 'info', module: name, message: 'listening' }))
process.on('SIGTERM', end)
process.on('SIGUSR2', () => {
  for (const client of clients) client.destroy()
})

function end(): void {
  for (const client of clients) client.end()
  server.close(() => process.exit(0))
}
