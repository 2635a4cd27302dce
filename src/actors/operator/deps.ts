import type { AnyActorRef } from 'xstate'
import type { Clock } from '../../clock.ts'
import type { PeerRecord } from '../../crdt/schema.ts'
import type { View } from '../../crdt/view.ts'
import type { Dataplane } from '../../dataplane/desired.ts'
import { NotInClusterError } from '../../errors.ts'
import type { LicenseState } from '../../license.ts'
import type { Logger } from '../../log.ts'
import type { Mesh } from '../../mesh/mesh.ts'
import type { EventFeed } from '../event-feed.ts'
import type { ReplicaPort } from '../ports.ts'
import type { Reconciler } from '../reconcile/reconciler.ts'
import type { FlightRecorder } from '../runtime/recorder.ts'
import type { StallWatch } from '../stall.ts'
import type { HostDiagnostics } from './diagnostics.ts'
import type { HostDoctor } from './doctor.ts'
import type { StatusJson } from './operator.ts'

/** What the operator's nouns share. */
export interface OperatorDeps {
  replica: ReplicaPort
  mesh: Mesh
  dataplane: Dataplane
  reconciler: Reconciler
  agent: AnyActorRef
  recorder: FlightRecorder
  feed: EventFeed
  stalls: StallWatch
  clock: Clock
  log: Logger
  license: () => LicenseState
  hostDoctor: HostDoctor | null
  selfRecord: () => PeerRecord
  version: string
  stateDir: string
  listen: () => StatusJson['listen']
  /** Monotonic ms. */
  startedAt: number
  host: HostDiagnostics
  /** Aborts when the actors stop: what was subscribed to ends then. */
  until: AbortSignal
}

/** The view of the cluster that this peer belongs to; NotInClusterError when it belongs to none. */
export function clusterView({
  replica
}: Pick<OperatorDeps, 'replica'>): View & { cluster: NonNullable<View['cluster']> } {
  const view = replica.view()
  if (view.cluster == null) throw new NotInClusterError()
  return view as View & { cluster: NonNullable<View['cluster']> }
}
