import assert from 'node:assert/strict'
import type { ServiceJson } from '../../src/actors/operator/operator.ts'
import { ARCTIC, invite, Peer } from '../../lab/peer.ts'
import { sleep, until } from '../../lab/wait.ts'
import { meshOf, type Mesh } from './two-sites.ts'

const NOBODY = '12D3KooWGRUa5LqPEyiNJ8SZvH7CrJyVHuKdqCQ8nMhcHwVkQjCk'
const NO_ULID = '01JZZZZZZZZZZZZZZZZZZZZZZZ'

/** Each wrong thing that an operator can type, and the answer the contract gives it: exit code, error code, hint. */
describe('e2e: bad input is answered as the contract says', function () {
  this.timeout(40_000)
  let mesh: Mesh
  let stranger: Peer

  before(async function () {
    const bare = await meshOf(this, 'e2e-bad')
    const service = await bare.a.ask<ServiceJson>('services', 'create', '--target-peer', 'edge-b')
    mesh = { ...bare, service }
    // A third agent that belongs to nothing: control plane only, on the server's host, which reaches edge-b.
    stranger = await new Peer(bare.sites.server, { flags: ['--dataplane', 'none'] }).start()
  })
  after(() => mesh?.lab.close())

  /** One more agent on the stranger's host, at other ports. */
  const extra = (directory: string, ...flags: string[]): Promise<Peer> => {
    const ports = ['--mesh-listen', '/ip4/0.0.0.0/tcp/7956', '--data-listen', '0.0.0.0:7957', '--api-listen', 'off']
    return new Peer(mesh.sites.server, { directory, flags: ['--dataplane', 'none', ...ports, ...flags] }).start()
  }

  /** Runs it twice: as a person reads it, and with `-j`. Both have to say the same. */
  async function refuses(peer: Peer, args: string[], exit: number, code: string, hint: RegExp): Promise<void> {
    const human = await peer.cli(...args)
    assert.equal(human.code, exit, `${args.join(' ')}: ${human.stderr}${human.stdout}`)
    assert.match(human.stderr, new RegExp(`^error: ${code}: .+\n$`), 'one line, as the contract has it')
    assert.match(human.stderr, hint)
    assert.equal(human.stdout, '')
    const { code: jsonExit, stderr, stdout } = await peer.cli('-j', ...args)
    assert.equal(jsonExit, exit)
    const { error } = JSON.parse(stderr === '' ? stdout : stderr) as { error: { code: string; message: string } }
    assert.equal(error.code, code)
    assert.match(error.message, hint)
  }

  const cidrs: Array<[what: string, flags: string[], code: string, hint: RegExp]> = [
    ['host bits', ['--dest-cidr', '10.2.0.5/24'], 'invalid_cidr', /10\.2\.0\.0\/24/],
    ['no slash', ['--dest-cidr', '10.2.0.5'], 'invalid_cidr', /10\.2\.0\.5\/32/],
    ['prefix 33', ['--dest-cidr', '10.2.0.0/33'], 'invalid_cidr', /33|32/],
    ['host bits in IPv6', ['--dest-cidr', 'fd00:2::5/64'], 'invalid_cidr', /fd00:2::\/64/],
    ['prefix 129', ['--dest-cidr', 'fd00:2::/129'], 'invalid_cidr', /129|128/],
    ['no address at all', ['--dest-cidr', 'the office'], 'invalid_cidr', /the office/],
    ['four numbers too few', ['--dest-cidr', '10.2/16'], 'invalid_cidr', /10\.2/],
    [
      'IPv4 in an IPv6 route',
      ['--source-cidr', '10.1.0.0/24', '--dest-cidr', 'fd00:2::/64'],
      'invalid_cidr',
      /IPv[46]/
    ],
    ['no CIDR at all', [], 'invalid_request', /cidr/i],
    ['a priority that is none', ['--dest-cidr', '10.2.0.0/24', '--priority', 'high'], 'invalid_request', /priority/]
  ]
  for (const [what, flags, code, hint] of cidrs) {
    it(`routes add: ${what}`, () =>
      refuses(mesh.a, ['routes', 'add', '--service', mesh.service.id, ...flags], 2, code, hint))
  }

  const create = ['services', 'create', '--target-peer']
  const unknown: Array<[what: string, args: () => string[], exit: number, code: string, hint: RegExp]> = [
    ['unknown target by name', () => [...create, 'edge-z'], 4, 'peer_not_found', /edge-z/],
    ['unknown target by id', () => [...create, NOBODY], 4, 'peer_not_found', /12D3/],
    ['unknown source', () => [...create, 'edge-b', '--source-peer', 'edge-z'], 4, 'peer_not_found', /edge-z/],
    ['target equal to source', () => [...create, 'edge-a'], 2, 'invalid_request', /source|itself|same/],
    [
      'transparent without interface',
      () => [...create, 'edge-b', '--fully-transparent'],
      2,
      'transparent_requires_interface',
      /interface/
    ],
    [
      'transparent over KCP',
      () => [...create, 'edge-b', '--fully-transparent', '--requires-interface', '--transport', 'kcp'],
      2,
      'transparent_tcp_only',
      /tcp/
    ],
    ['unknown service', () => ['services', 'get', NO_ULID], 4, 'service_not_found', /services list/],
    [
      'route for an unknown service',
      () => ['routes', 'add', '--service', NO_ULID, '--dest-cidr', '10.2.0.0/24'],
      4,
      'service_not_found',
      /services list/
    ],
    [
      'unknown route',
      () => ['routes', 'delete', '--service', mesh.service.id, '--route', NO_ULID, '--yes'],
      4,
      'route_not_found',
      /routes list/
    ],
    ['unknown peer', () => ['peers', 'get', 'edge-z'], 4, 'peer_not_found', /edge-z/],
    [
      'deleting without a terminal and without --yes',
      () => ['services', 'delete', mesh.service.id],
      2,
      'invalid_request',
      /--yes/
    ],
    ['unknown command', () => ['services', 'destroy'], 2, 'invalid_request', /destroy/],
    ['unknown flag', () => ['services', 'list', '--colour'], 2, 'invalid_request', /--colour/],
    ['a flag without its value', () => ['services', 'create', '--target-peer'], 2, 'invalid_request', /target-peer/],
    ['a missing flag', () => ['services', 'create'], 2, 'invalid_request', /target-peer/]
  ]
  for (const [what, args, exit, code, hint] of unknown) it(what, () => refuses(mesh.a, args(), exit, code, hint))

  it('nothing of all that left a trace', async () => {
    assert.equal((await mesh.b.ask<unknown[]>('services', 'list')).length, 1)
    assert.equal((await mesh.b.ask<unknown[]>('routes', 'list')).length, 0)
  })

  it('an agent in no cluster says so', async () => {
    await refuses(stranger, ['services', 'list'], 5, 'not_in_cluster', /cluster (init|join)/)
    await refuses(stranger, ['cluster', 'invite'], 5, 'not_in_cluster', /cluster (init|join)/)
  })

  it('an agent that is not there is said not to be reachable', async () => {
    const out = await mesh.a.host.attempt([...ARCTIC_AT('/nowhere/agent.sock'), 'services', 'list'])
    assert.equal(out.code, 3)
    assert.match(out.stderr, /^error: unavailable: .+\n$/)
  })

  describe('invites', () => {
    it('expired', async () => {
      const token = await invite(mesh.b, '--ttl', '1s')
      await sleep(1500)
      await refuses(stranger, ['cluster', 'join', token], 6, 'invite_expired', /new one/)
    })

    it('forged: any character changed', async () => {
      const token = await invite(mesh.b)
      for (const at of [Math.floor(token.length * 0.4), Math.floor(token.length * 0.7), token.length - 4]) {
        const forged = token.slice(0, at) + (token[at] === 'A' ? 'B' : 'A') + token.slice(at + 1)
        await refuses(stranger, ['cluster', 'join', forged], 6, 'invite_invalid', /token|new one/)
      }
    })

    it('truncated, or nothing like a token', async () => {
      const token = await invite(mesh.b)
      await refuses(stranger, ['cluster', 'join', token.slice(0, -10)], 6, 'invite_invalid', /whole token/)
      await refuses(stranger, ['cluster', 'join', 'please'], 6, 'invite_invalid', /token/)
    })

    it('join while in a cluster already', async () => {
      await refuses(mesh.a, ['cluster', 'join', await invite(mesh.b)], 5, 'already_in_cluster', /leave/)
      await refuses(mesh.a, ['cluster', 'init'], 5, 'already_in_cluster', /leave/)
    })

    it('a peer that was seen but not admitted is no target', async () => {
      const id = await stranger.id
      const all = async (): Promise<Array<{ id: string; state: string }>> => mesh.b.ask('peers', 'list', '--all')
      await until('edge-b to have seen it', async () => (await all()).some((peer) => peer.id === id), {
        timeoutMs: 5000
      })
      assert.equal((await all()).find((peer) => peer.id === id)?.state, 'discovered')
      assert.equal((await mesh.b.ask<unknown[]>('peers', 'list')).length, 2)
      await refuses(mesh.b, ['services', 'create', '--target-peer', id], 5, 'target_peer_not_admitted', /invite/)
    })

    it('a peer name that a member has', async () => {
      const namesake = await extra('namesake', '--name', 'edge-a')
      await refuses(namesake, ['cluster', 'join', await invite(mesh.b)], 5, 'name_taken', /edge-a/)
      await namesake.end('SIGTERM')
    })

    it('reused: good for one peer, not for the second', async () => {
      const token = await invite(mesh.b, '--uses', '1')
      await stranger.ask('cluster', 'join', token)
      const second = await extra('second', '--name', 'second')
      await refuses(second, ['cluster', 'join', token], 6, 'invite_used', /used up/)
    })
  })
})

const ARCTIC_AT = (socket: string): string[] => [ARCTIC, '--socket', socket]
