import { deepEqual, equal, ok } from 'node:assert/strict'
import { once } from 'node:events'
import { startHost, type Host } from './host.ts'
import { HostProcess } from './host-process.ts'
import { Cleanup, temporaryDirectory, until } from './support.ts'

describe('the mesh among processes', function () {
  this.timeout(40_000)
  const cleanup = new Cleanup()
  let root: Awaited<ReturnType<typeof temporaryDirectory>>
  beforeEach(async () => {
    root = await temporaryDirectory()
  })
  afterEach(async () => {
    await cleanup.run()
    await root[Symbol.asyncDispose]()
  })

  const start = async (name: string, listen?: string): Promise<HostProcess> => {
    const host = await HostProcess.start(root.path, name, listen)
    cleanup.later(() => host.kill())
    return host
  }

  async function pair(): Promise<{ a: Host; b: HostProcess }> {
    const a = await startHost(root.path, 'a')
    cleanup.later(() => a.stop())
    await a.replica.init({ name: 'test', record: a.record() })
    const b = await start('b')
    const token = await a.mesh.invite({ ttlMs: 60_000, uses: 1, role: 'admin' })
    await b.ask({ run: 'join', token })
    await until('a reaches b', () => a.mesh.peer(b.id)?.reachable === true)
    return { a, b }
  }

  it('misses a killed peer within 4 s and finds it again when it is back', async () => {
    const { a, b } = await pair()
    const told: boolean[] = []
    a.mesh.onPresence(({ id, reachable }) => {
      if (id === b.id && told.at(-1) !== reachable) told.push(reachable)
    })
    await b.kill()
    await until('a misses b', () => a.mesh.peer(b.id)?.reachable === false, 4_000)
    deepEqual(a.network.connected(), [])
    const again = await start('b')
    equal(again.id, b.id)
    await until('a reaches b', () => a.mesh.peer(b.id)?.reachable === true, 10_000)
    deepEqual(told, [false, true])
  })

  it('misses a stalled peer, whose sockets stay open, within 4 s, and finds it again when it goes on', async () => {
    const { a, b } = await pair()
    b.child.kill('SIGSTOP')
    await until('a misses b', () => a.mesh.peer(b.id)?.reachable === false, 4_000)
    // The half-open connection is cut, so that a new one can be made.
    await until('a has cut the connection', () => a.network.connected().length === 0, 6_000)
    b.child.kill('SIGCONT')
    await until('a reaches b', () => a.mesh.peer(b.id)?.reachable === true, 12_000)
    ok((await b.ask<object>({ run: 'seen' })) != null)
  })

  it('leaves nothing open when it stops: the process ends by itself', async () => {
    const { a, b } = await pair()
    const open = await b.ask<string[]>({ run: 'stop' })
    // libp2p lets a few timers of up to a second run out.
    deepEqual(
      open.filter((kind) => /TCP|Server|Socket|Connect/.test(kind)),
      []
    )
    const [code] = (await once(b.child, 'exit', { signal: AbortSignal.timeout(3_000) })) as [number]
    equal(code, 0)
    await until('a misses b at once', () => a.mesh.peer(b.id)?.reachable === false, 1_000)
  })
})
