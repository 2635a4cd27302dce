import { randomBytes } from 'node:crypto'

/** Randomness as an argument: the product gets {@link systemRandom}, a simulator a seeded one. */
export interface Random {
  /** `n` bytes fit for keys. */
  bytes(n: number): Uint8Array
  /** A float in [0, 1). */
  float(): number
}

export const systemRandom: Random = {
  bytes: (n) => randomBytes(n),
  float: () => randomBytes(4).readUInt32LE(0) / 2 ** 32
}

/** A duration of `ms` give or take `share` (0.2 = ±20 %), so that peers do not act in step. */
export const jittered = (random: Random, ms: number, share = 0.2): number =>
  ms * (1 - share + 2 * share * random.float())
