import type { World } from '../world.ts'

/** Something that must hold. It says `world.violate(name, …)` when it does not, and is silent otherwise. */
export interface Checker {
  readonly name: string
  readonly about: string
  /** Asked every virtual second, whatever goes on. */
  always?(world: World): void
  /** Asked when nothing is wrong any more and all has had its time to settle. */
  atRest?(world: World): void
}
