import assert from 'node:assert/strict'
import { describe, it } from 'mocha'
import { Fold } from '../../src/crdt/fold.ts'
import type { DesiredState } from '../../src/dataplane/desired.ts'
import type { Member, View } from '../../src/crdt/view.ts'
import { CHECKERS } from '../../sim/checkers/index.ts'
import type { Fault } from '../../sim/faults.ts'
import type { SimHost } from '../../sim/host/host.ts'
import { fault } from '../../sim/scenarios/scenario.ts'
import type { World } from '../../sim/world.ts'
import { play, said, short } from './support/short.ts'

/** A product that is broken on purpose, and what has to notice it. */
interface Mutation {
  breaks: string
  caughtBy: RegExp
  faults?: Fault[]
  servicesMax?: number
  mutate: (world: World) => void
}

const agentOf = (host: SimHost | undefined) => host?.agent ?? assert.fail('this host is not up')
const victim = (world: World): SimHost => world.hosts[2] ?? assert.fail('there is no such host')

/** The host's kernel gets something else than it was asked for, and says that all is well. */
function kernelLoads(host: SimHost, change: (desired: DesiredState) => DesiredState): void {
  const { kernel } = host
  const load = kernel.load.bind(kernel)
  kernel.load = (desired) => {
    const loaded = load(change(desired))
    kernel.desired = desired
    return loaded
  }
}

const MUTATIONS: Mutation[] = [
  {
    breaks: "a peer's fold drops a change",
    caughtBy: /agreement: .*different things in one document/,
    mutate: (world) => {
      const { replica } = agentOf(victim(world))
      const view = replica.view.bind(replica)
      replica.view = () => {
        const whole = view()
        const last = [...whole.services.keys()].sort().at(-1) ?? ''
        return { ...whole, services: new Map([...whole.services].filter(([id]) => id !== last)) }
      }
    }
  },
  {
    breaks: 'a peer takes nothing in any more',
    caughtBy: /agreement: .*different documents[\s\S]*durability: host-2 lacks change/,
    mutate: (world) => {
      const { replica } = agentOf(victim(world))
      replica.receive = async () => ({ accepted: 0, known: 0, refused: [], gap: false })
    }
  },
  {
    breaks: 'a disk says "synced" and has not, and then the power fails while nobody else has heard of it',
    caughtBy: /durability: .*(lacks change \d+ that host-1|lost the service)/,
    faults: [fault('split', 0, 2_900, [[0], [1], [2]]), fault('power', 2_600, 200, [[1]])],
    mutate: (world) => void ((world.hosts[1] ?? assert.fail()).disk.lies = true)
  },
  {
    breaks: 'a removed service comes back',
    caughtBy: /durability: .*still has the removed service/,
    servicesMax: 2,
    mutate: (world) => {
      for (const host of world.hosts) {
        const { operator } = agentOf(host)
        operator.deleteService = async () => {}
      }
    }
  },
  {
    breaks: 'the kernel loses a rule',
    caughtBy: /agreement: host-\d has other rules in its kernel/,
    mutate: (world) => {
      for (const host of world.hosts)
        kernelLoads(host, (desired) => ({ ...desired, outbound: desired.outbound.slice(1) }))
    }
  },
  {
    breaks: 'packets are steered to another service',
    caughtBy: /^flows: /m,
    mutate: (world) => {
      for (const { kernel } of world.hosts) {
        const steer = kernel.steer.bind(kernel)
        kernel.steer = (packet) => {
          const steered = steer(packet)
          return steered == null ? null : { ...steered, service: '01ARZ3NDEKTSV4RRFFQ69G5FAV' }
        }
      }
    }
  },
  {
    breaks: 'a target refuses what a route of its service covers',
    caughtBy: /flows: .*is refused by host-/,
    mutate: (world) => {
      for (const { kernel } of world.hosts) kernel.takes = () => false
    }
  },
  {
    breaks: 'what nobody routes is taken',
    caughtBy: /flows: .*should be "is not taken"/,
    mutate: (world) => {
      for (const { kernel } of world.hosts) {
        const steer = kernel.steer.bind(kernel)
        kernel.steer = (packet) => steer(packet) ?? { service: 'any', route: 'any', target: world.hosts[0]?.id ?? '' }
      }
    }
  },
  {
    breaks: 'whoever asks is a member',
    caughtBy: /authority: .*whom nobody let in/,
    mutate: (world) => {
      const { replica } = agentOf(victim(world))
      const view = replica.view.bind(replica)
      const stranger = { ...[...view().members.values()][0], id: '12D3KooWstranger' } as never
      replica.view = () => {
        const whole = view()
        return { ...whole, members: new Map([...whole.members, ['12D3KooWstranger', stranger]]) }
      }
    }
  },
  {
    breaks: 'a timer is forgotten',
    caughtBy: /leaks: host-2 .* left 1 timers behind/,
    mutate: (world) => void agentOf(victim(world)).clock.every(1_000, () => {})
  },
  {
    breaks: 'a listener is forgotten',
    caughtBy: /leaks: host-2 .* left 1 subscriptions behind/,
    mutate: (world) => void agentOf(victim(world)).replica.onView(() => {})
  },
  {
    breaks: 'memory has no bound',
    caughtBy: /bounds: host-2 has more than \d+ timers/,
    mutate: (world) => {
      const { clock } = agentOf(victim(world))
      clock.every(10, () => void clock.after(600_000, () => {}))
    }
  },
  {
    breaks: 'a log that is never cut',
    caughtBy: /bounds: host-2 has more than \d+ bytes on disk/,
    mutate: (world) => {
      const { clock } = agentOf(victim(world))
      const disk = victim(world).disk.session(clock)
      let size = 0
      clock.every(100, () => void disk.write('/state/log', new Uint8Array((size += 256 * 1024))))
    }
  },
  {
    breaks: 'a promise that nobody hears',
    caughtBy: /errors: a promise was rejected unheard/,
    mutate: (world) => {
      agentOf(victim(world)).clock.after(100, () => void Promise.reject(new Error('lost')))
    }
  },
  {
    breaks: 'an operator is told of something that is no answer',
    caughtBy: /errors: host-\d failed an operator with no proper error/,
    mutate: (world) => {
      for (const host of world.hosts) {
        agentOf(host).operator.addRoutes = async () => {
          throw new TypeError('undefined is not a function')
        }
      }
    }
  }
]

describe('sim: each checker catches what it is there for', function () {
  this.timeout(240_000)
  this.slow(20_000)

  it('and says nothing when nothing is broken', async () => {
    const result = await play()
    assert.equal(said(result), '')
    assert.ok(result.changes > 5, `only ${result.changes} changes were made`)
  })

  for (const { breaks, caughtBy, faults, servicesMax, mutate } of MUTATIONS) {
    it(breaks, async () => {
      const scenario = servicesMax == null ? short : { ...short, workload: { ...short.workload, servicesMax } }
      const result = await play({ scenario, mutate, ...(faults == null ? {} : { faults }) })
      assert.match(said(result), caughtBy)
    })
  }

  it('changes without the right to them count', async () => {
    const { isSound } = Fold.prototype
    const faults = [fault('revoke', 400, 200, [[1]]), fault('traitor', 1_200, 1_500, [[2]])]
    try {
      Fold.prototype.isSound = () => true
      const result = await play({ faults, peers: 4 })
      assert.match(said(result), /authority: .*(without the right|after it was revoked)/)
    } finally {
      Fold.prototype.isSound = isSound
    }
    assert.equal(said(await play({ faults, peers: 4 })), '')
  })

  it('a revocation does not count because its author is revoked as well', async () => {
    // Four at once, some by one of the others: of these nobody can say beforehand what the cluster will come to.
    const faults = [fault('revoke', 400, 200, [[0, 1, 4, 2]])]
    const lenient = (world: World): void => {
      const known = new Map<string, Member>()
      for (const { replica } of world.hosts.map(agentOf)) {
        const view = replica.view.bind(replica)
        const shown = new WeakMap<View, View>()
        replica.view = () => {
          const whole = view()
          for (const member of whole.members.values()) known.set(member.id, member)
          const left = [...known].filter(([id]) => world.outcasts.has(id) && world.goneAt(id) == null)
          const others = left.filter(([id]) => !whole.members.has(id))
          if (others.length === 0) return whole
          const held = shown.get(whole)
          if (held?.members.size === whole.members.size + others.length) return held
          const more = { ...whole, members: new Map([...whole.members, ...others]) }
          shown.set(whole, more)
          return more
        }
      }
    }
    const found: string[] = []
    for (let seed = 1; seed <= 12 && found.length === 0; seed++) {
      const told = said(await play({ faults, peers: 8, seed: String(seed), mutate: lenient }))
      if (told.includes('although its revocation counts')) found.push(told)
    }
    assert.match(found.join(), /authority: .*although its revocation counts/)
  })

  it('a fault that cannot be played breaks the run off, and is told once', async () => {
    let handledLate = 0
    const count = (): void => void handledLate++
    process.on('rejectionHandled', count)
    try {
      const mutate = (world: World): void => {
        world.revoke = async () => {
          throw new Error('nobody can')
        }
      }
      const result = await play({ faults: [fault('revoke', 400, 1_000, [[1]])], mutate })
      assert.match(said(result), /^errors: the run broke off: Error: nobody can/)
      assert.doesNotMatch(said(result), /rejected unheard/)
      await new Promise(setImmediate)
      assert.equal(handledLate, 0)
    } finally {
      process.off('rejectionHandled', count)
    }
  })

  it('each checker has such a mutation', () => {
    const proven = MUTATIONS.map(({ caughtBy }) => caughtBy.source).join(' ')
    for (const { name } of CHECKERS) assert.ok(proven.includes(name), `nothing proves the checker of ${name}`)
  })
})
