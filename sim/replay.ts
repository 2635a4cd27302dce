import { formatFaults, type Fault } from './faults.ts'
import type { AgentKind } from './host/agent.ts'
import type { NetworkKind } from './net/host-network.ts'
import { agentsFor, type RunResult } from './run.ts'
import type { Scenario } from './scenarios/scenario.ts'

/** The one line that does all of it again. `faults` is given when they are not the scenario's own. */
export function replayLine(
  { name }: Pick<Scenario, 'name'>,
  {
    peers,
    seed,
    network = 'light',
    agents = agentsFor(peers)
  }: Pick<RunResult, 'peers' | 'seed'> & { network?: NetworkKind; agents?: AgentKind },
  faults?: readonly Fault[]
): string {
  const quoted = /^[\w.-]+$/.test(seed) ? seed : `'${seed.replaceAll("'", "'\\''")}'`
  // One that begins with a dash would be taken for a flag.
  const seeded = seed.startsWith('-') ? `--seed=${quoted}` : `--seed ${quoted}`
  const over = network === 'light' ? '' : ` --network ${network}`
  const kind = agents === agentsFor(peers) ? '' : ` --agents ${agents}`
  return `arctic sim run ${name} --peers ${peers} ${seeded}${over}${kind}${faults == null ? '' : ` --faults '${formatFaults(faults)}'`}`
}
