import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { until } from '../../lab/wait.ts'
import { decode, encode, type Value } from './msgpack.ts'
import { Programs } from './programs.ts'
import { members, precise, type System } from './system.ts'

const GOSSIP = 24_690
const RPC = 24_590

/** serf of the distribution with its profile for local networks: a user event, not stored, and a stream of them at every member. */
export class Serf implements System {
  readonly name = 'serf'
  readonly #programs = new Programs()
  readonly #sockets: Socket[] = []
  readonly #seen = new Map<number, number[]>()
  #seq = 0

  async start(): Promise<void> {
    for (let i = 0; i < members; i++) {
      const join = i === 0 ? [] : ['-join', `127.0.0.1:${GOSSIP}`]
      const bind = ['-bind', `127.0.0.1:${GOSSIP + i}`, '-rpc-addr', `127.0.0.1:${RPC + i}`]
      this.#programs.run('serf', ['agent', '-node', `n${i}`, ...bind, '-profile', 'lan', ...join])
      await until(`serf ${i}`, () => this.#open(i), { timeoutMs: 30_000, everyMs: 50 })
    }
    // Each has to have heard of each: an event that comes before is lost to it.
    await until(
      'serf to be one cluster',
      async () => {
        void this.write(0, -1)
        await new Promise((resolve) => setTimeout(resolve, 500))
        return (this.#seen.get(-1)?.length ?? 0) >= members
      },
      { timeoutMs: 30_000 }
    )
  }

  async write(by: number, n: number): Promise<number> {
    const begun = precise()
    this.#send(this.#sockets[by]!, 'event', { Name: 'e', Payload: String(n), Coalesce: false })
    return begun
  }

  async seen(): Promise<ReadonlyMap<number, readonly number[]>> {
    return this.#seen
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets.splice(0)) socket.destroy()
    await this.#programs.stop()
    this.#seen.clear()
  }

  async #open(i: number): Promise<boolean> {
    const socket = connect(RPC + i, '127.0.0.1')
    await once(socket, 'connect')
    this.#sockets.push(socket)
    socket.on('error', () => {})
    let rest = Buffer.alloc(0)
    socket.on('data', (chunk) => {
      const at = precise()
      rest = Buffer.concat([rest, chunk])
      for (let next = decode(rest); next != null; next = decode(rest)) {
        rest = rest.subarray(next.end)
        const { Event, Payload } = (next.value ?? {}) as Record<string, Value>
        if (Event !== 'user') continue
        const n = Number(Payload)
        this.#seen.set(n, [...(this.#seen.get(n) ?? []), at])
      }
    })
    this.#send(socket, 'handshake', { Version: 1 })
    this.#send(socket, 'stream', { Type: 'user' })
    return true
  }

  #send(socket: Socket, command: string, body: Value): void {
    socket.write(Buffer.concat([encode({ Command: command, Seq: ++this.#seq }), encode(body)]))
  }
}
