import assert from 'node:assert/strict'
import { programTimeoutMs } from '../../../src/actors/limits.ts'
import { phaseOf, type EndpointSight, type PhaseInput } from '../../../src/actors/reconcile/phase.ts'
import type { ServiceReport } from '../../../src/mesh/mesh.ts'
import { service, peerId, ulid } from '../fakes/records.ts'

const report = (role: 'source' | 'target', more: Partial<ServiceReport> = {}): ServiceReport => ({
  service_id: ulid(1),
  role,
  spec: 'new',
  state: 'applied',
  reason: '',
  message: '',
  since: 0,
  effective_transport: 'tcp',
  interface: null,
  warnings: [],
  flows: 0,
  bytes_in: 0,
  bytes_out: 0,
  ...more
})

const sight = (name: string, more: Partial<EndpointSight> = {}): EndpointSight => ({
  peer: peerId(name),
  name,
  member: true,
  departed: null,
  described: true,
  reach: 'reachable',
  report: report(name === 'a' ? 'source' : 'target'),
  fresh: true,
  ...more
})

const input = (more: Partial<PhaseInput> = {}): PhaseInput => ({
  service: service(1, 'a', 'b'),
  routes: 1,
  spec: 'new',
  source: sight('a'),
  target: sight('b'),
  waitingSince: 0,
  now: 100,
  ...more
})

const old = report('target', { spec: 'old' })
const withDevice = service(1, 'a', 'b', { requires_interface: true })
const device = { name: '01jxyz', mac: null, ipv4: null, ipv6: null }
const failed = (role: 'source' | 'target', reason: string): ServiceReport =>
  report(role, { state: 'failed', reason, message: 'why', effective_transport: null })

/** [what is seen, phase, reason, the condition that says so and its status] */
const TABLE: Array<[string, Partial<PhaseInput>, string, string, [string, boolean]?]> = [
  ['both endpoints have this spec in force', {}, 'active', 'Programmed', ['Ready', true]],
  ['no route', { routes: 0 }, 'pending', 'NoRoutes', ['Routes', false]],
  [
    'no route, but a device of its own',
    { routes: 0, service: withDevice, source: sight('a', { report: report('source', { interface: device }) }) },
    'active',
    'Programmed',
    ['Routes', false]
  ],
  [
    'the target has said nothing yet',
    { target: sight('b', { report: null }) },
    'pending',
    'Programming',
    ['TargetProgrammed', false]
  ],
  [
    'the target has the older spec',
    { target: sight('b', { report: old }) },
    'pending',
    'Programming',
    ['SourceProgrammed', true]
  ],
  [
    'the target has the older spec for too long',
    { target: sight('b', { report: old }), now: programTimeoutMs },
    'degraded',
    'NotProgrammed',
    ['TargetProgrammed', false]
  ],
  [
    'the target was not asked of late, so that nothing can be said of the time',
    { target: sight('b', { report: old, fresh: false }), now: programTimeoutMs },
    'pending',
    'Programming'
  ],
  [
    'the source was never described',
    { source: sight('a', { described: false, report: null }) },
    'pending',
    'PeerRecordMissing',
    ['SourceProgrammed', false]
  ],
  ['the target is no member', { target: sight('b', { member: false }) }, 'degraded', 'PeerNotAdmitted'],
  [
    'the target was thrown out',
    { target: sight('b', { member: false, departed: 'revoked' }) },
    'degraded',
    'PeerRevoked',
    ['TargetProgrammed', false]
  ],
  [
    'the source has left',
    { source: sight('a', { member: false, departed: 'left' }) },
    'degraded',
    'PeerLeft',
    ['SourceProgrammed', false]
  ],
  [
    'the target refused it',
    { target: sight('b', { report: failed('target', 'NftRefused') }) },
    'degraded',
    'NftRefused'
  ],
  [
    'the source has no data plane',
    { source: sight('a', { report: failed('source', 'DataplaneDisabled') }) },
    'degraded',
    'DataplaneDisabled'
  ],
  [
    'a failure weighs more than a missing route',
    { routes: 0, source: sight('a', { report: failed('source', 'DataplaneDisabled') }) },
    'degraded',
    'DataplaneDisabled'
  ],
  [
    'the target does not answer',
    { target: sight('b', { reach: 'unreachable' }) },
    'degraded',
    'TargetUnreachable',
    ['TargetReachable', false]
  ],
  ['the source does not answer', { source: sight('a', { reach: 'unreachable' }) }, 'degraded', 'SourceUnreachable'],
  ['the target is being connected to', { target: sight('b', { reach: 'connecting' }) }, 'pending', 'Connecting'],
  [
    'the source cannot reach the target, we can',
    { source: sight('a', { report: failed('source', 'TargetUnreachable') }) },
    'degraded',
    'TargetUnreachable',
    ['TargetReachable', false]
  ],
  [
    'an older failure of an older spec',
    { target: sight('b', { report: { ...failed('target', 'NftRefused'), spec: 'old' } }) },
    'pending',
    'Programming'
  ],
  [
    'asked for KCP, runs over TCP',
    { service: service(1, 'a', 'b', { transport_type: 'kcp' }) },
    'degraded',
    'TransportFallback',
    ['Transport', false]
  ],
  ['the device is not there yet', { service: withDevice }, 'pending', 'Creating', ['Interface', false]],
  [
    'the device cannot be made',
    { service: withDevice, source: sight('a', { report: failed('source', 'InterfaceConflict') }) },
    'degraded',
    'InterfaceConflict',
    ['Interface', false]
  ],
  [
    'the target does not forward',
    {
      target: sight('b', {
        report: report('target', { warnings: [{ reason: 'ForwardingDisabled', message: 'ip_forward is 0' }] })
      })
    },
    'active',
    'Programmed',
    ['Forwarding', false]
  ]
]

describe('the phase of a service', () => {
  for (const [what, more, phase, reason, shown] of TABLE) {
    it(`is ${phase} (${reason}) when ${what}`, () => {
      const verdict = phaseOf(input(more))
      assert.deepEqual([verdict.phase, verdict.reason], [phase, reason])
      const ready = verdict.conditions[0]!
      assert.deepEqual([ready.type, ready.status, ready.reason], ['Ready', phase === 'active', reason])
      if (shown != null) assert.equal(verdict.conditions.find(({ type }) => type === shown[0])?.status, shown[1])
      const types = verdict.conditions.map(({ type }) => type)
      assert.equal(new Set(types).size, types.length, 'one condition per type')
    })
  }

  it('waits for time only while somebody is at it', () => {
    assert.equal(phaseOf(input()).deadline, null)
    assert.equal(phaseOf(input({ routes: 0 })).deadline, null)
    assert.equal(phaseOf(input({ target: sight('b', { report: old }) })).deadline, programTimeoutMs)
    assert.equal(phaseOf(input({ target: sight('b', { report: old }), now: programTimeoutMs })).deadline, null)
  })

  it('names the straggler', () => {
    const { message } = phaseOf(input({ target: sight('b', { report: old }), now: programTimeoutMs }))
    assert.match(message, /^b still has an older state of it in force, after 10 s$/)
  })
})
