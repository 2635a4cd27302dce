import { startActors } from '../../src/actors/start.ts'
import { MeshRuntime } from '../../src/mesh/mesh-runtime.ts'
import { version } from '../../src/version.ts'
import type { AgentParts, Started } from './agent.ts'

/** All of an agent, composed as `src/agent.ts` does, of the product's own parts over a simulated host. */
export async function startWhole(parts: AgentParts): Promise<Started> {
  const { host, clock, random, log, replica, network, dataplane, record } = parts
  const { world, signer } = host
  const mesh = new MeshRuntime({ network, replica, signer, record, version, clock, random, log })
  await mesh.start()
  const actors = startActors({
    replica,
    mesh,
    dataplane,
    clock,
    log,
    version,
    stateDir: '/state',
    selfRecord: record,
    listen: () => ({
      mesh: network.addresses(),
      data: '0.0.0.0:7947',
      api: null,
      socket: '/agent.sock',
      api_fingerprint: null
    }),
    onFatal: (error) => world.violate('errors', `${host.name}: a part failed for good: ${String(error)}`)
  })
  return {
    operator: actors.operator,
    whole: actors.operator,
    async stop() {
      await actors.stop()
      await mesh.stop()
    }
  }
}
