import assert from 'node:assert/strict'
import { startActors, type Actors } from '../../../src/actors/start.ts'
import { systemClock } from '../../../src/clock.ts'
import type { Replica } from '../../../src/crdt/replica.ts'
import { silentLogger } from '../../../src/log.ts'
import { peerRecord } from '../../crdt/support.ts'
import { FakeDataplane } from './dataplane.ts'
import type { FakeMesh } from './mesh.ts'

/** The actors of an agent over a real replica: only its mesh and its data plane are the test's. */
export const startOnReplica = (replica: Replica, mesh: FakeMesh, name: string): Actors =>
  startActors({
    replica,
    mesh,
    dataplane: new FakeDataplane(),
    clock: systemClock,
    log: silentLogger,
    version: '0.1.0',
    stateDir: '/nowhere',
    selfRecord: () => peerRecord(replica.self, name),
    listen: () => ({ mesh: [], data: '', api: null, socket: '', api_fingerprint: null }),
    onFatal: (error) => assert.fail(String(error))
  })
