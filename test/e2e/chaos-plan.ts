import { SeededRandom } from '../../sim/random.ts'
import type { Conditions, Way } from '../../lab/bad-wire.ts'

export type Side = 'a' | 'b'

/** One thing that goes wrong, or is changed by somebody, while flows are open. */
export type Trouble =
  | { kind: 'engine'; side: Side; engine: 'pegasus' | 'tempest' }
  | { kind: 'agent'; side: Side; signal: 'SIGKILL' | 'SIGUSR2' }
  | { kind: 'cut'; way: Way; ms: number }
  | { kind: 'wire'; way: Way; conditions: Conditions }
  | { kind: 'service'; side: Side; change: object }
  | { kind: 'route'; side: Side }

const SIDES = ['a', 'b'] as const
const WAYS = ['both', 'a-to-b', 'b-to-a'] as const

/** Everything that happens for a seed, in order: the whole of it is known before anything has begun. */
export function* troubles(seed: string): Generator<Trouble> {
  const random = new SeededRandom(`${seed}/troubles`)
  const makers: Array<() => Trouble> = [
    () => ({ kind: 'engine', side: random.pick(SIDES), engine: random.chance(0.8) ? 'pegasus' : 'tempest' }),
    () => ({ kind: 'agent', side: random.pick(SIDES), signal: random.pick(['SIGKILL', 'SIGUSR2'] as const) }),
    () => ({ kind: 'cut', way: random.pick(WAYS), ms: random.integer(50, 2000) }),
    () => ({ kind: 'wire', way: random.pick(WAYS), conditions: conditions(random) }),
    () => ({ kind: 'wire', way: 'both', conditions: {} }),
    () => ({ kind: 'service', side: random.pick(SIDES), change: change(random) }),
    () => ({ kind: 'route', side: random.pick(SIDES) })
  ]
  for (;;) yield random.pick(makers)()
}

function conditions(random: SeededRandom): Conditions {
  const delayMs = random.between(0, 30)
  return {
    loss: random.between(0, 0.05),
    reorder: random.between(0, 0.2),
    delayMs,
    jitterMs: random.between(0, delayMs),
    ordered: random.chance(0.5)
  }
}

const change = (random: SeededRandom): object =>
  random.pick([
    () => ({ bandwidth_limit_mbps: random.pick([0, 20, 200]) }),
    () => ({ transport_type: random.pick(['tcp', 'kcp']) }),
    () => ({ name: `chaos-${random.integer(0, 999)}` })
  ])()
