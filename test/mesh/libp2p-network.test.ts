import { deepEqual, equal, match, ok, rejects } from 'node:assert/strict'
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { generateKeyPairFromSeed } from '@libp2p/crypto/keys'
import { gossipsub } from '@libp2p/gossipsub'
import { identify } from '@libp2p/identify'
import { noise } from '@libp2p/noise'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { createLibp2p } from 'libp2p'
import { systemClock } from '../../src/clock.ts'
import type { ArcticError } from '../../src/errors.ts'
import { silentLogger, type Logger } from '../../src/log.ts'
import { Libp2pNetwork } from '../../src/mesh/libp2p-network.ts'
import { strangersPerHostMax, strangerTriesMax, unprovenPerHostMax } from '../../src/mesh/limits.ts'
import type { Audience, Channel } from '../../src/mesh/network.ts'
import { systemRandom } from '../../src/random.ts'
import { Cleanup, pause, until } from './support.ts'

describe('Libp2pNetwork', function () {
  this.timeout(20_000)
  const cleanup = new Cleanup()
  afterEach(() => cleanup.run())

  const members = new Set<string>()
  beforeEach(() => members.clear())

  async function network(
    options: {
      member?: boolean
      listen?: string[]
      advertise?: string[]
      log?: Logger
      inCluster?: boolean
      alone?: boolean
      told?: (addresses: string[]) => string[]
    } = {}
  ): Promise<Libp2pNetwork> {
    const made = await Libp2pNetwork.create({
      privateKey: await generateKeyPairFromSeed('Ed25519', systemRandom.bytes(32)),
      listen: options.listen ?? ['/ip4/127.0.0.1/tcp/0'],
      advertise: options.advertise ?? [],
      ...(options.told == null ? {} : { told: options.told }),
      membership: {
        inCluster: () => options.inCluster ?? true,
        isMember: (peer) => options.alone !== true && members.has(peer)
      },
      openProtocols: ['/open/1.0.0'],
      version: '0.0.0',
      clock: systemClock,
      log: options.log ?? silentLogger
    })
    if (options.member !== false) members.add(made.self)
    cleanup.later(() => made.stop())
    await made.start()
    return made
  }

  const signal = (ms = 5_000): AbortSignal => AbortSignal.timeout(ms)
  const echo = async (channel: Channel): Promise<void> => {
    for (;;) {
      const message = await channel.receive({ signal: signal() })
      if (message == null) return
      await channel.send(message)
    }
  }

  const cleanupInterval = (work: () => void): NodeJS.Timeout => {
    const timer = setInterval(work, 20)
    cleanup.later(() => clearInterval(timer))
    return timer
  }

  async function pair(): Promise<[Libp2pNetwork, Libp2pNetwork]> {
    const [a, b] = [await network(), await network()]
    await a.dial(b.self, b.addresses(), { signal: signal() })
    await until('both are connected', () => a.connected().length === 1 && b.connected().length === 1)
    return [a, b]
  }

  it('carries whole messages both ways, also large ones and empty ones', async () => {
    const [a, b] = await pair()
    await b.handle('/echo/1.0.0', echo)
    const channel = await a.open(b.self, '/echo/1.0.0', { signal: signal() })
    for (const size of [0, 1, 65_536, 4 * 1024 * 1024]) {
      const sent = new Uint8Array(size).fill(size % 251)
      await channel.send(sent)
      deepEqual(Buffer.from((await channel.receive({ signal: signal() }))!), Buffer.from(sent))
    }
    await rejects(channel.send(new Uint8Array(4 * 1024 * 1024 + 1)), RangeError)
    await channel.close()
    equal(await channel.receive({ signal: signal() }), null)
  })

  it('gives up waiting for a message when the signal says so', async () => {
    const [a, b] = await pair()
    await b.handle('/mute/1.0.0', async (channel) => void (await channel.receive({ signal: signal() })))
    const channel = await a.open(b.self, '/mute/1.0.0', { signal: signal() })
    await rejects(channel.receive({ signal: signal(50) }), { name: 'TimeoutError' })
    channel.abort(new Error('enough'))
  })

  it('delivers topics to members and measures round trips', async () => {
    const [a, b] = await pair()
    const heard: string[] = []
    a.subscribe('t', { validate: () => 'accept', deliver: () => {} })
    b.subscribe('t', {
      validate: (data) => (data.length < 10 ? 'accept' : 'reject'),
      deliver: (data, from) => heard.push(`${Buffer.from(data).toString()} from ${from}`)
    })
    let count = 0
    await until('b hears a', () => {
      void a.publish('t', Buffer.from(`nr ${count++}`), 'all')
      return heard.length > 0
    })
    await a.publish('t', Buffer.from('longer than ten'), 'all')
    match(heard[0]!, new RegExp(`^nr \\d+ from ${a.self}$`))
    await pause(50)
    ok(!heard.some((one) => one.startsWith('longer')))
    const rtt = await a.ping(b.self, { signal: signal() })
    ok(rtt > 0 && rtt < 1_000, `${rtt}`)
  })

  it('has those who are connected hand on what is for all, and keep what is for them', async () => {
    const [a, b, c] = [await network(), await network(), await network()]
    await a.dial(b.self, b.addresses(), { signal: signal() })
    await c.dial(b.self, b.addresses(), { signal: signal() })
    const heard = { b: new Set<string>(), c: new Set<string>() }
    a.subscribe('t', { validate: () => 'accept', deliver: () => {} })
    const keep = (set: Set<string>) => (data: Uint8Array) => void set.add(Buffer.from(data).toString().split(':')[0]!)
    b.subscribe('t', { validate: () => 'accept', deliver: keep(heard.b) })
    c.subscribe('t', {
      validate: (data) => (Buffer.from(data).toString().startsWith('bad') ? 'reject' : 'accept'),
      deliver: keep(heard.c)
    })
    let count = 0
    const tell = (): void => {
      const say = (from: Libp2pNetwork, what: string, to: Audience): void =>
        void from.publish('t', Buffer.from(`${what}:${count++}`), to)
      say(a, 'for all', 'all')
      say(a, 'for b', 'connected')
      say(b, 'bad of b', 'connected')
      say(b, 'of b', 'connected')
    }
    await until('what is for all has come by way of b', () => {
      tell()
      return heard.c.has('for all') && heard.c.has('of b') && heard.b.has('for b')
    })
    await pause(50)
    deepEqual(heard, { b: new Set(['for all', 'for b']), c: new Set(['for all', 'of b']) })
  })

  it('tells one peer what is for it alone, once it can hear', async () => {
    const [a, b, c] = [await network(), await network(), await network()]
    const heard: string[] = []
    for (const peer of [b, c]) {
      peer.subscribe('t', { validate: () => 'accept', deliver: (data) => void heard.push(`${peer.self} ${data[0]}`) })
    }
    let greeted = 0
    a.subscribe('t', {
      validate: () => 'accept',
      deliver: () => {},
      onSubscriber: (peer) => {
        equal(a.tell('t', Uint8Array.of(++greeted), peer), true)
      }
    })
    equal(a.tell('t', Uint8Array.of(0), b.self), false)
    await a.dial(b.self, b.addresses(), { signal: signal() })
    await until('b is greeted', () => heard.length > 0)
    await c.dial(a.self, a.addresses(), { signal: signal() })
    await until('c is greeted', () => heard.length > 1)
    await pause(50)
    deepEqual(heard, [`${b.self} 1`, `${c.self} 2`])
  })

  it('tells a peer of a version that only gossips what it tells others', async () => {
    const a = await network()
    const old = await createLibp2p({
      addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
      transports: [tcp()],
      connectionEncrypters: [noise()],
      streamMuxers: [yamux()],
      services: {
        identify: identify(),
        pubsub: gossipsub({ globalSignaturePolicy: 'StrictNoSign', allowPublishToZeroTopicPeers: true })
      }
    })
    cleanup.later(async () => old.stop())
    const peer = old.peerId.toString()
    members.add(peer)
    const heard: string[] = []
    old.services.pubsub.addEventListener('gossipsub:message', ({ detail }) =>
      heard.push(Buffer.from(detail.msg.data).toString())
    )
    old.services.pubsub.subscribe('t')
    const subscribers: string[] = []
    const onSubscriber = (one: string): void => void subscribers.push(one)
    a.subscribe('t', { validate: () => 'accept', deliver: () => {}, onSubscriber })
    const addresses = old.getMultiaddrs().map((address) => address.toString().replace(/\/p2p\/.*$/, ''))
    await a.dial(peer, addresses, { signal: signal() })
    let count = 0
    await until('it hears', () => {
      void a.publish('t', Buffer.from(`nr ${count++}`), 'connected')
      return heard.length > 0
    })
    equal(a.tell('t', Buffer.from('alone'), peer), false)
    await until('it is known to hear', () => subscribers.includes(peer))
  })

  it('says what a taken port means', async () => {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    cleanup.later(() => void server.close())
    const { port } = server.address() as { port: number }
    await rejects(network({ listen: [`/ip4/127.0.0.1/tcp/${port}`] }), (error: ArcticError) => {
      equal(error.code, 'unavailable')
      match(error.message, new RegExp(`/ip4/127.0.0.1/tcp/${port} \\(EADDRINUSE\\); .*--mesh-listen`))
      return true
    })
    await rejects(network({ listen: ['tcp://nonsense'] }), { code: 'invalid_request' })
  })

  it('announces the advertised hosts with the port it listens on', async () => {
    const a = await network({ advertise: ['192.0.2.7', '2001:db8::7'] })
    const port = /tcp\/(\d+)$/.exec(a.addresses()[0]!)![1]
    deepEqual(a.addresses(), [`/ip4/192.0.2.7/tcp/${port}`, `/ip6/2001:db8::7/tcp/${port}`])
  })

  it('tells which addresses were tried and why they failed', async () => {
    const [a, b] = [await network(), await network()]
    const closed = createServer().listen(0, '127.0.0.1')
    await once(closed, 'listening')
    const { port } = closed.address() as { port: number }
    closed.close()
    const tried = [`/ip4/127.0.0.1/tcp/${port}`, '/ip4/127.0.0.1/tcp/1']
    await rejects(a.dial(b.self, tried, { signal: signal() }), (error: ArcticError) => {
      equal(error.code, 'unavailable')
      match(error.message, /connection refused.*firewall.*--advertise/)
      equal((error.details['tried'] as unknown[]).length, 2)
      return true
    })
    // A good address behind a bad one is found.
    await a.dial(b.self, [...tried, ...b.addresses()], { signal: signal() })
  })

  it('does not take another peer for the one it dialled', async () => {
    const [a, b, c] = [await network(), await network(), await network()]
    await rejects(a.dial(b.self, c.addresses(), { signal: signal() }), /another peer answers/)
    await until('the wrong connection is gone', () => a.connected().length === 0)
  })

  it('keeps one connection when dials cross', async () => {
    const [a, b] = [await network(), await network()]
    await Promise.all([
      a.dial(b.self, b.addresses(), { signal: signal() }),
      b.dial(a.self, a.addresses(), { signal: signal() })
    ])
    const heard: string[] = []
    for (const one of [a, b]) {
      one.subscribe('t', { validate: () => 'accept', deliver: (data) => void heard.push(Buffer.from(data).toString()) })
    }
    await pause(2_500)
    deepEqual([a.connected(), b.connected()], [[b.self], [a.self]])
    let count = 0
    await until('gossip goes both ways after the second connection was closed', () => {
      void a.publish('t', Buffer.from(`a ${count++}`), 'all')
      void b.publish('t', Buffer.from(`b ${count++}`), 'all')
      return heard.some((one) => one.startsWith('a')) && heard.some((one) => one.startsWith('b'))
    })
  })

  it('lets a stranger speak the open protocol only, and cuts it off when it keeps trying others', async () => {
    const member = await network()
    const stranger = await network({ member: false, inCluster: false, alone: true })
    const seen: string[] = []
    member.onStranger((peer) => seen.push(peer))
    await member.handle('/open/1.0.0', echo)
    await member.handle('/closed/1.0.0', echo)
    await stranger.dial(member.self, member.addresses(), { signal: signal() })
    const open = await stranger.open(member.self, '/open/1.0.0', { signal: signal() })
    await open.send(Buffer.from('may I'))
    equal(Buffer.from((await open.receive({ signal: signal() }))!).toString(), 'may I')
    deepEqual(seen, [stranger.self])
    deepEqual(member.connected(), [])
    await open.close()
    // The same peer, with an agent that takes everybody for a member.
    await stranger.hangUp(member.self)
    const bold = await network({ member: false })
    await bold.handle('/closed/1.0.0', echo)
    await bold.dial(member.self, member.addresses(), { signal: signal() })
    let served = 0
    for (let i = 0; i <= strangerTriesMax; i++) {
      const closed = await bold.open(member.self, '/closed/1.0.0', { signal: signal() }).catch(() => null)
      await closed?.send(Buffer.from('hello')).catch(() => {})
      if ((await closed?.receive({ signal: signal() }).catch(() => null)) != null) served++
    }
    equal(served, 0)
    await until('the bold one is cut off', () => bold.connected().length === 0 && member.counts().strangers === 0)
  })

  it('neither sends gossip to a stranger nor takes any from it', async () => {
    const member = await network()
    const bold = await network({ member: false })
    const heard: string[] = []
    for (const [name, one] of Object.entries({ member, bold })) {
      one.subscribe('secret', { validate: () => 'accept', deliver: () => void heard.push(name) })
    }
    const tries = cleanupInterval(() => {
      void bold.dial(member.self, member.addresses(), { signal: signal() }).catch(() => {})
      void bold.publish('secret', Buffer.from(`forged ${performance.now()}`), 'connected')
      void member.publish('secret', Buffer.from(`for members ${performance.now()}`), 'all')
    })
    await pause(1_500)
    clearInterval(tries)
    deepEqual(heard, [])
    deepEqual(member.connected(), [])
  })

  it('closes a connection whose standing has changed', async () => {
    const [a, b] = await pair()
    members.delete(b.self)
    a.membershipChanged()
    await until('b is out', () => a.connected().length === 0 && b.connected().length === 0)
  })

  it('refuses everybody while it belongs to no cluster', async () => {
    const lonely = await network({ inCluster: false })
    const stranger = await network({ member: false })
    await rejects(
      (async () => {
        await stranger.dial(lonely.self, lonely.addresses(), { signal: signal() })
        await stranger.open(lonely.self, '/open/1.0.0', { signal: signal() })
      })(),
      { code: 'unavailable' }
    )
  })

  it('does not tell the address of a device that has gone since the host was asked', async () => {
    let devices = new Set(['127.0.0.2'])
    const told = (addresses: string[]): string[] => addresses.filter((one) => !devices.has(one.split('/')[2] ?? ''))
    const a = await network({ listen: ['/ip4/127.0.0.1/tcp/0', '/ip4/127.0.0.2/tcp/0'], told })
    const before_ = a.addresses()
    devices = new Set()
    deepEqual(a.addresses(), before_)
    ok(before_.length === 1 && before_[0]?.startsWith('/ip4/127.0.0.1/'), before_.join())
  })

  it('bounds strangers per address', async () => {
    const member = await network()
    const strangers = []
    for (let i = 0; i < strangersPerHostMax + 4; i++) strangers.push(await network({ member: false, alone: true }))
    await Promise.allSettled(strangers.map((one) => one.dial(member.self, member.addresses(), { signal: signal() })))
    await pause(200)
    equal(member.counts().strangers, strangersPerHostMax)
  })

  it('survives 1,000 raw connections with garbage and slow bytes, quietly, and still serves members', async () => {
    const lines: string[] = []
    const log: Logger = { ...silentLogger, info: (_, message) => void lines.push(message), module: () => log }
    const a = await network({ log })
    const port = Number(/tcp\/(\d+)$/.exec(a.addresses()[0]!)![1])
    const sockets: Socket[] = []
    let closed = 0
    for (let i = 0; i < 1_000; i++) {
      const socket = connect(port, '127.0.0.1')
      socket.on('error', () => {})
      socket.on('close', () => closed++)
      socket.on('connect', () => {
        if (i % 3 === 0) socket.write(systemRandom.bytes(256))
        if (i % 3 === 1) socket.write('\x13/multi')
      })
      sockets.push(socket)
      if (i % 100 === 99) await pause(10)
    }
    cleanup.later(() => sockets.forEach((socket) => socket.destroy()))
    await until('most were refused at once', () => closed >= 1_000 - unprovenPerHostMax)
    ok(a.counts().unproven <= unprovenPerHostMax)
    await until('the slow ones were given up', () => a.counts().unproven === 0 && closed === 1_000, 8_000)
    ok(lines.length < 6, lines.join('\n'))
    const b = await network()
    await b.dial(a.self, a.addresses(), { signal: signal() })
    await until('a member gets in', () => a.connected().includes(b.self))
  })
})
