import assert from 'node:assert/strict'
import { describe, it } from 'mocha'
import { measure } from '../../bench/convergence.ts'
import { lightCluster } from '../../sim/host/light-cluster.ts'
import type { SimHost } from '../../sim/host/host.ts'
import { simulate, type RunResult } from '../../sim/run.ts'
import { adminRevoked } from '../../sim/scenarios/admin-revoked.ts'
import { clonedPeer } from '../../sim/scenarios/cloned-peer.ts'
import { peersJoin } from '../../sim/scenarios/peers-join.ts'
import { massReboot } from '../../sim/scenarios/mass-reboot.ts'
import type { Scenario } from '../../sim/scenarios/scenario.ts'
import { World } from '../../sim/world.ts'
import { intakeGapMs } from '../../src/mesh/limits.ts'
import { play, said } from './support/short.ts'

const light = (scenario: Scenario, peers: number): Promise<RunResult> =>
  simulate({ scenario, peers, seed: '1', agents: 'light' })

describe('sim: light agents', function () {
  this.timeout(240_000)
  this.slow(30_000)

  it('bring a change to each of 40, over a wire that loses a fifth of the messages, the same way each time', async () => {
    const [one, again] = [await measure('light', 40, 0.2, 5), await measure('light', 40, 0.2, 5)]
    const virtual = ({ p50, p99, last }: typeof one): number[] => [p50, p99, last]
    assert.deepEqual(virtual(one), virtual(again))
    assert.ok(one.p50 > 0 && one.p50 <= one.p99)
    // Gossip by another way or anti-entropy, twice at most.
    assert.ok(one.last < 15_000, `the last peer had it after ${one.last} ms`)
  })

  it('take in together what comes close together, and at once what comes alone', async () => {
    const members = 100
    const world = new World('burst', { agents: 'light' })
    const counted = await world.scheduler.run(
      (async () => {
        const [author, other] = (await lightCluster(world, members)) as [SimHost, SimHost]
        const [from, to] = [author.agent!.replica, other.agent!.replica]
        await world.scheduler.sleep(6_000)
        const views: Array<{ at: number; services: number }> = []
        const release = to.onView(({ services }) => views.push({ at: world.now, services: services.size }))
        const began = world.now
        for (let i = 0; i < 50; i++) {
          const name = `burst-${i}`
          await from.createService({ name, source_peer_id: author.id, target_peer_id: other.id })
        }
        const ended = world.now
        while (to.view().services.size < 50) await world.scheduler.sleep(1)
        release()
        await Promise.all(world.hosts.map((host) => host.stop('remove')))
        return { views, ms: ended - began, firstMs: (views[0]?.at ?? Infinity) - began }
      })()
    )
    assert.equal(counted.views[0]?.services, 1)
    assert.ok(counted.firstMs < 200, `the first one came after ${counted.firstMs} ms`)
    assert.ok(counted.views.length <= 3 + counted.ms / intakeGapMs(members), JSON.stringify(counted))
  })

  it('and so do whole agents', async () => {
    const { p50, last } = await measure('whole', 4, 0, 3)
    assert.ok(p50 > 0 && last < 1_000, `${p50} ${last}`)
  })

  it('join in their dozens while messages are lost, are held to all that whole ones are, the same way each time', async () => {
    const [one, again] = [await light(peersJoin, 24), await light(peersJoin, 24)]
    assert.equal(said(one), '')
    assert.notEqual(one.settled_ms, null)
    assert.equal(one.trace_hash, again.trace_hash)
  })

  for (const scenario of [massReboot, adminRevoked, clonedPeer]) {
    it(`come through ${scenario.name}`, async () => assert.equal(said(await light(scenario, 6)), ''))
  }

  it('are caught when they take nothing in any more, and when their kernel has something else', async () => {
    const deaf = await play({
      agents: 'light',
      mutate: (world) => {
        const { replica } = world.hosts[2]?.agent ?? assert.fail()
        replica.receive = async () => ({ accepted: 0, known: 0, refused: [], gap: false })
      }
    })
    assert.match(said(deaf), /agreement: .*different documents[\s\S]*durability: host-2 lacks change/)
    const astray = await play({
      agents: 'light',
      mutate: (world) => {
        for (const { kernel } of world.hosts) kernel.steer = () => null
      }
    })
    assert.match(said(astray), /^flows: /m)
  })
})
