import { silentLogger, type Logger } from '../../../src/log.ts'
import { COMMUNITY, type LicenseState } from '../../../src/license.ts'
import type { HostDoctor } from '../../../src/actors/operator/doctor.ts'
import { startActors, type Actors } from '../../../src/actors/start.ts'
import type { ServiceJson } from '../../../src/actors/operator/operator.ts'
import { FakeClock } from './clock.ts'
import { FakeDataplane } from './dataplane.ts'
import { FakeMesh, FakeWire } from './mesh.ts'
import { member, peerId, peerRecord } from './records.ts'
import { FakeDocument, FakeReplica } from './replica.ts'

export interface FakeAgent {
  actors: Actors
  mesh: FakeMesh
  dataplane: FakeDataplane
  replica: FakeReplica
  fatal: unknown[]
  /** The service as this peer tells it. */
  sees(id: string): Promise<ServiceJson>
}

/** Whole actor systems over one document, one wire and one clock. */
export class FakeLab {
  readonly clock = new FakeClock()
  readonly wire = new FakeWire()
  readonly document = new FakeDocument()
  readonly agents = new Map<string, FakeAgent>()

  /** An agent of a member, or of one that has not joined yet. */
  async agent(
    name: string,
    {
      admitted = true,
      log = silentLogger,
      license = () => COMMUNITY,
      hostDoctor
    }: { admitted?: boolean; log?: Logger; license?: () => LicenseState; hostDoctor?: HostDoctor | undefined } = {}
  ): Promise<FakeAgent> {
    if (admitted) this.document.admit(member(name))
    const mesh = new FakeMesh(peerId(name), this.wire)
    mesh.isMember = (id) => this.document.view.members.has(id)
    mesh.heads = () => this.document.view.heads
    const dataplane = new FakeDataplane()
    const replica = new FakeReplica(this.document, peerId(name))
    const fatal: unknown[] = []
    const actors = startActors({
      replica,
      mesh,
      dataplane,
      clock: this.clock,
      log,
      version: '0.1.0',
      stateDir: '/nowhere',
      license,
      ...(hostDoctor == null ? {} : { hostDoctor }),
      selfRecord: () => peerRecord(name),
      listen: () => ({ mesh: [], data: '0.0.0.0:7947', api: null, socket: '/nowhere.sock', api_fingerprint: null }),
      onFatal: (error) => fatal.push(error)
    })
    const agent = { actors, mesh, dataplane, replica, fatal, sees: (id: string) => actors.operator.getService(id) }
    this.agents.set(name, agent)
    this.wire.changed()
    await this.clock.advance(20)
    return agent
  }

  async stop(): Promise<void> {
    await Promise.all([...this.agents.values()].map((agent) => agent.actors.stop()))
  }
}
