import { FAULTS, formatFaults, type Fault, type FaultKind } from './faults.ts'
import { SeededRandom } from './random.ts'
import { regressionLine } from './regressions.ts'
import { replayLine } from './replay.ts'
import { simulate, type RunOptions, type RunResult } from './run.ts'
import { fault, range, type Scenario } from './scenarios/scenario.ts'
import { shrink } from './shrink.ts'

const peersMin = 3
const peersMax = 7
const faultsMax = 8
/** Runs spent on making one finding smaller. */
const shrinkTriesMax = 40

export interface FuzzOptions {
  scenarios: readonly Scenario[]
  seed: string
  /** Asked before each run, with the number of runs so far. */
  goesOn: (runs: number) => boolean
  /** Runs of the same kind are alike; at this many findings it ends. */
  findingsMax: number
  mutate?: RunOptions['mutate']
  onRun?: (result: RunResult) => void
}

export interface Finding {
  scenario: string
  peers: number
  seed: string
  violations: RunResult['violations']
  replay: string
  /** What to add to `regressions.ts` once it is mended. */
  regression: string
}

export interface FuzzResult {
  seed: string
  runs: number
  virtual_seconds: number
  deliveries: number
  findings: Finding[]
}

/** Runs scenarios with random casts, seeds and fault lists, and makes the fault list of what fails as short as it can. */
export async function fuzz({ scenarios, seed, goesOn, findingsMax, mutate, onRun }: FuzzOptions): Promise<FuzzResult> {
  const random = new SeededRandom(`fuzz ${seed}`)
  const result: FuzzResult = { seed, runs: 0, virtual_seconds: 0, deliveries: 0, findings: [] }
  const broken = mutate == null ? {} : { mutate }
  while (goesOn(result.runs) && result.findings.length < findingsMax) {
    const scenario = random.pick(scenarios)
    const peers = random.integer(peersMin, peersMax)
    const own = scenario.faults({ peers, random: random.fork(`own ${result.runs}`) })
    const options = { scenario, peers, seed: `${seed}.${result.runs}`, ...broken }
    // Whom a traitor let in is none of ours: who joins by whom must stay certain.
    const kinds = scenario.founders == null ? KINDS : KINDS.filter((kind) => !CASTS_OUT.includes(kind))
    const faults = [...own, ...randomFaults(random, peers, scenario.durationMs, kinds)]
    const run = await simulate({ ...options, faults })
    result.runs++
    result.virtual_seconds += run.virtual_seconds
    result.deliveries += run.deliveries
    onRun?.(run)
    const checker = run.violations[0]?.checker
    if (checker == null) continue
    let smallest = run
    let least = faults
    const fails = async (part: Fault[]): Promise<boolean> => {
      if (!goesOn(result.runs)) return false
      const again = await simulate({ ...options, faults: part })
      const failed = again.violations.some((one) => one.checker === checker)
      if (failed) smallest = again
      return failed
    }
    least = await shrink(faults, fails, shrinkTriesMax)
    result.findings.push({
      scenario: scenario.name,
      peers,
      seed: options.seed,
      violations: smallest.violations,
      replay: replayLine(scenario, options, least),
      regression: regressionLine({
        scenario: scenario.name,
        peers,
        seed: options.seed,
        faults: formatFaults(least)
      })
    })
  }
  return result
}

const KINDS = Object.keys(FAULTS) as FaultKind[]
const CASTS_OUT: readonly FaultKind[] = ['revoke', 'clone', 'traitor']

/** Each of them does something, and can be typed. */
export function randomFaults(
  random: SeededRandom,
  peers: number,
  durationMs: number,
  kinds: readonly FaultKind[] = KINDS
): Fault[] {
  return Array.from({ length: random.integer(0, faultsMax) }, () => {
    const kind = random.pick(kinds)
    const at = random.between(0, durationMs * 0.8)
    const forMs = random.between(100, durationMs * 0.3)
    const hosts = random.sample(range(0, peers), random.integer(1, peers - 1))
    const cut = random.integer(1, Math.max(1, hosts.length - 1))
    const others = hosts.length > 1 ? hosts.slice(cut) : range(0, peers).filter((host) => !hosts.includes(host))
    const groups = FAULTS[kind].takes.hosts === 'two' ? [hosts.slice(0, cut), others] : [hosts]
    return fault(kind, at, forMs, groups, amountOf(kind, random))
  })
}

function amountOf(kind: FaultKind, random: SeededRandom): number {
  switch (kind) {
    case 'loss':
      return random.integer(1, 60)
    case 'duplicate':
      return random.integer(1, 50)
    case 'latency':
    case 'reorder':
      return random.integer(1, 500)
    case 'disk-slow':
    case 'slow':
      return random.integer(2, 200)
    case 'clock-skew':
      return random.integer(-300, 300) || 1
    case 'clock-jump':
      return random.integer(-600_000, 600_000) || 1
    default:
      return 0
  }
}
