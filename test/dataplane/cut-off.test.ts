import assert from 'node:assert/strict'
import { describe, it } from 'mocha'
import { CutOff, roadTo } from '../../src/dataplane/cut-off.ts'
import { cutOffAfterMs } from '../../src/dataplane/limits.ts'
import type { PegasusStats } from '../../src/dataplane/pegasus.ts'

type Peer = PegasusStats['peers'][number]

const peer = (id: string, state: string, transport: Peer['transport'] = 'tcp'): Peer => ({
  peer_id: id,
  transport,
  state,
  carriers_idle: 0,
  carriers_busy: 0,
  address: '10.9.0.2:7947',
  error: 'no answer in time'
})

describe('peers that are cut off', () => {
  it('are told once they have been down for some time, by transport, and no more once there is a way', () => {
    const cutOff = new CutOff()
    const down = [peer('b', 'down', 'kcp'), peer('b', 'up'), peer('c', 'unknown')]
    assert.equal(cutOff.see(down, 0), false)
    assert.equal(cutOff.see(down, cutOffAfterMs - 1), false)
    assert.equal(cutOff.see(down, cutOffAfterMs), true)
    assert.equal(cutOff.see(down, cutOffAfterMs + 1_000), false, 'it is news once')
    assert.deepEqual([...cutOff.peers.keys()], [roadTo('b', 'kcp')])
    assert.match(
      cutOff.peers.get(roadTo('b', 'kcp'))?.message ?? '',
      /over kcp .*no answer in time at 10\.9\.0\.2:7947/
    )
    assert.equal(cutOff.see([peer('b', 'up', 'kcp')], cutOffAfterMs + 2_000), true)
    assert.equal(cutOff.peers.size, 0)
  })

  it('are not those that are down for a moment, again and again', () => {
    const cutOff = new CutOff()
    for (let at = 0; at < 10 * cutOffAfterMs; at += cutOffAfterMs - 1) {
      assert.equal(cutOff.see([peer('b', 'down')], at), false)
      assert.equal(cutOff.see([peer('b', 'up')], at + 1), false)
    }
  })
})
