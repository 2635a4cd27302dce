import { deepEqual, equal } from 'node:assert/strict'
import type { Connection } from '@libp2p/interface'
import { Connections } from '../../src/mesh/libp2p/connections.ts'
import { crossedDialMs, duplicateGraceMs, strangerIdleMs, upkeepMs } from '../../src/mesh/limits.ts'
import { FakeClock } from '../actors/fakes/clock.ts'

describe('Connections', () => {
  function make() {
    const clock = new FakeClock()
    const members = new Set<string>()
    const log: string[] = []
    const connections = new Connections({
      self: 'm',
      clock,
      isMember: (peer) => members.has(peer),
      events: {
        onMember: ({ peer }) => log.push(`member ${peer}`),
        onMemberGone: (peer) => log.push(`gone ${peer}`),
        onStranger: ({ peer }) => log.push(`stranger ${peer}`),
        onMoved: ({ connection }) => log.push(`moved to ${connection.id}`),
        onUpkeep: () => {}
      }
    })
    connections.start()
    let count = 0
    const open = (peer: string, direction: 'inbound' | 'outbound' = 'inbound'): Connection => {
      const connection = {
        id: `${peer}${count++}`,
        remotePeer: { toString: () => peer },
        direction,
        status: 'open',
        close: async () => {
          connection.status = 'closed'
          log.push(`closed ${connection.id}`)
          connections.closed(connection as never)
        },
        abort: () => {}
      }
      connections.opened(connection as never)
      return connection as never
    }
    return { clock, members, log, connections, open }
  }

  it('lets a stranger stay for a while, and longer only while it joins', async () => {
    const { clock, log, connections, open } = make()
    open('x')
    const joining = connections.find(open('y'))!
    joining.busy = true
    await clock.advance(strangerIdleMs + upkeepMs)
    deepEqual(log, ['stranger x', 'stranger y', 'closed x0'])
    joining.busy = false
    await clock.advance(upkeepMs)
    deepEqual(log.slice(3), ['closed y1'])
    deepEqual(connections.members(), [])
  })

  it('closes what was made under another standing', async () => {
    const { members, log, connections, open } = make()
    members.add('a')
    open('a')
    open('x')
    deepEqual(connections.members(), ['a'])
    members.delete('a')
    members.add('x')
    connections.evaluate()
    deepEqual(log, ['member a', 'stranger x', 'closed a0', 'gone a', 'closed x1'])
  })

  it('keeps one of two connections to a member, after a moment, and never says that it was gone', async () => {
    const { clock, members, log, connections, open } = make()
    members.add('z')
    open('z', 'inbound')
    const kept = open('z', 'outbound')
    equal(connections.best('z')?.connection.id, kept.id)
    await clock.advance(duplicateGraceMs + upkeepMs)
    deepEqual(log, ['member z', 'closed z0', 'moved to z1'])
  })

  it('takes a later connection for proof that the earlier one is dead', async () => {
    const { clock, members, log, connections, open } = make()
    members.add('z')
    open('z', 'outbound')
    await clock.advance(crossedDialMs * 5)
    const later = open('z', 'inbound')
    equal(connections.best('z')?.connection.id, later.id)
    await clock.advance(duplicateGraceMs + upkeepMs)
    deepEqual(log, ['member z', 'closed z0', 'moved to z1'])
    connections.stop()
    equal(clock.pending, 0)
  })
})
