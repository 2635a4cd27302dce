import type { Fault } from '../faults.ts'
import type { SeededRandom } from '../random.ts'
import type { Workload } from '../workload.ts'
import type { World } from '../world.ts'

/** A story with a cast: what is done to how many hosts, and for how long. What must hold is the checkers'. */
export interface Scenario {
  readonly name: string
  /** One line for `sim list`. */
  readonly about: string
  readonly peers: number
  /** Virtual ms of work and faults, before all is left to settle. */
  readonly durationMs: number
  readonly workload: Workload
  /** Members of the cluster when the story begins; all by default. Who is not, `drive` lets in. */
  readonly founders?: (peers: number) => number
  /** What goes wrong, by default; `--faults` replaces it. */
  faults(cast: { peers: number; random: SeededRandom }): Fault[]
  /** What happens besides, beginning with the work. */
  drive?(world: World): Promise<void>
}

export const fault = (kind: Fault['kind'], at: number, forMs: number, groups: number[][] = [], amount = 0): Fault => ({
  kind,
  at: Math.round(at),
  forMs: Math.round(forMs),
  groups,
  amount
})

export const range = (from: number, to: number): number[] =>
  Array.from({ length: Math.max(0, to - from) }, (_, i) => from + i)
