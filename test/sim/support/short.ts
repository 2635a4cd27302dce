import { simulate, type RunOptions, type RunResult } from '../../../sim/run.ts'
import { calm } from '../../../sim/scenarios/calm.ts'
import type { Scenario } from '../../../sim/scenarios/scenario.ts'

/** Enough work to have something to lose, in a few virtual seconds. */
export const short: Scenario = {
  ...calm,
  name: 'short',
  peers: 3,
  durationMs: 3_000,
  workload: { everyMs: 100, servicesMax: 20 }
}

export const play = (options: Partial<RunOptions> = {}): Promise<RunResult> =>
  simulate({ scenario: short, peers: short.peers, seed: '1', ...options })

/** Checker and message of each violation, one line each. */
export const said = ({ violations }: Pick<RunResult, 'violations'>): string =>
  violations.map(({ checker, message }) => `${checker}: ${message}`).join('\n')
