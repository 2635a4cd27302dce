import type { Host } from '../host.ts'
import { snapshotDiff, snapshotHost, type Snapshot } from '../snapshot.ts'
import type { Evidence } from '../story.ts'
import { until } from '../wait.ts'
import { showNothingPasses } from './connect.ts'
import type { Stage } from './stage.ts'

/** "Within seconds, without a command" (contract). */
const goneWithinMs = 5000

/** Step 6, first half: deleted on a, gone on both, as if it had never been. */
export async function deleteService(
  stage: Stage,
  serviceId: string,
  before: { a: Snapshot; b: Snapshot },
  evidence: Evidence
): Promise<void> {
  const { a, b } = stage
  await a.ask('services', 'delete', serviceId, '--yes')
  evidence.show('edge-a: services delete', serviceId)
  await until('edge-b to forget it', async () => (await b.service(serviceId)) == null, { timeoutMs: goneWithinMs })
  await compare(a.host, before.a, 'as before the service', evidence)
  await compare(b.host, before.b, 'as before the service', evidence)
  await showNothingPasses(stage, evidence)
}

/** Step 6, second half. */
export async function stopAgents({ a, b, untouched }: Stage, evidence: Evidence): Promise<void> {
  const codes = await Promise.all([a.end('SIGTERM'), b.end('SIGTERM')])
  for (const [peer, code, before] of [
    [a, codes[0], untouched.a],
    [b, codes[1], untouched.b]
  ] as const) {
    evidence.check(code === 0, `${peer.host.name}: exit code`, String(code))
    const left = peer.host.pids()
    evidence.check(left.length === 0, `${peer.host.name}: processes`, left.length === 0 ? 'none' : left.join(', '))
    await compare(peer.host, before, 'as before the agent', evidence)
  }
}

/** Tables, rules, routes, devices, sysctls, byte for byte. Waits a little: kernels and agents need their moment. */
async function compare(host: Host, before: Snapshot, as: string, { check }: Evidence): Promise<void> {
  let diff: string[] = []
  await until(
    'the host to be as before',
    async () => {
      diff = snapshotDiff(before, await snapshotHost(host))
      return diff.length === 0
    },
    { timeoutMs: goneWithinMs, everyMs: 100 }
  ).catch(() => {})
  const what = 'tables, rules, routes, devices, sysctls'
  check(
    diff.length === 0,
    `${host.name}: ${as}`,
    diff.length === 0 ? `${what}: byte for byte` : diff.slice(0, 12).join('\n')
  )
}
