import assert from 'node:assert/strict'
import { resolvePeer, resolveSource, resolveTarget } from '../../../src/actors/operator/peer-ref.ts'
import { findRoute, findService } from '../../../src/actors/operator/service-ref.ts'
import { FakeMesh, FakeWire } from '../fakes/mesh.ts'
import { member, peerId, peerRecord, route, service, ulid, viewOf } from '../fakes/records.ts'

const wire = new FakeWire()
const mesh = new FakeMesh(peerId('edge-a'), wire)
const stranger = new FakeMesh(peerId('stranger'), wire).self
const view = viewOf(
  [member('edge-a'), member('edge-b'), member('late', null), member('x', peerRecord('12D3KooW'))],
  [
    service(1, 'edge-a', 'edge-b', { name: 'web' }),
    service(2, 'edge-a', 'edge-b', { name: 'twin' }),
    service(3, 'edge-b', 'edge-a', { name: 'twin' })
  ],
  [route(101, 1), route(102, 2)]
)
mesh.isMember = (id) => view.members.has(id)

describe('naming a peer', () => {
  it('takes id, name, and an id prefix that only one peer has', () => {
    assert.equal(resolvePeer(peerId('edge-b'), view, mesh), peerId('edge-b'))
    assert.equal(resolvePeer('edge-b', view, mesh), peerId('edge-b'))
    assert.equal(resolvePeer(peerId('edge-b').slice(0, 14), view, mesh), peerId('edge-b'))
    assert.equal(resolvePeer(stranger.slice(0, 10), view, mesh), stranger)
  })

  it('prefers a name to a prefix that reads the same', () => {
    const named = viewOf([member('edge-a'), { ...member('x'), name: '12D3KooW' }])
    assert.equal(resolvePeer('12D3KooW', named, mesh), peerId('x'))
  })

  it('lists what an ambiguous prefix could mean', () => {
    assert.throws(
      () => resolvePeer(peerId('edge-a').slice(0, 12), view, mesh),
      (error: Error & { code: string; details: { matches: string[] } }) => {
        assert.equal(error.code, 'invalid_request')
        assert.match(error.message, /could mean 2 peers/)
        assert.deepEqual(error.details.matches, [peerId('edge-a'), peerId('edge-b')])
        return true
      }
    )
  })

  it('knows who does not exist', () => {
    for (const text of ['nobody', '', '12D3KooWZZZ'])
      assert.throws(() => resolvePeer(text, view, mesh), { code: 'peer_not_found' })
  })

  it('says that a target or a source has to be a member', () => {
    assert.throws(() => resolveTarget(stranger, view, mesh), { code: 'target_peer_not_admitted' })
    assert.throws(() => resolveTarget('nobody', view, mesh), { code: 'peer_not_found' })
    assert.throws(() => resolveSource(stranger, view, mesh), { code: 'invalid_request' })
    assert.equal(resolveTarget(peerId('late'), view, mesh), peerId('late'))
  })
})

describe('naming a service and a route', () => {
  it('takes ids in any case, and an exact name that only one service has', () => {
    assert.equal(findService(ulid(1).toLowerCase(), view).id, ulid(1))
    assert.equal(findService('web', view).id, ulid(1))
    assert.equal(findRoute(ulid(101).toLowerCase(), findService('web', view), view).id, ulid(101))
  })

  it('refuses what is unknown, and what could be two', () => {
    for (const text of ['', 'we', ulid(9)]) assert.throws(() => findService(text, view), { code: 'service_not_found' })
    assert.throws(() => findService('twin', view), { code: 'invalid_request' })
    assert.throws(() => findRoute(ulid(102), findService('web', view), view), { code: 'route_not_found' })
  })
})
