import { agreement } from './agreement.ts'
import { authority } from './authority.ts'
import { bounds } from './bounds.ts'
import type { Checker } from './checker.ts'
import { durability } from './durability.ts'
import { flows } from './flows.ts'

/**
 * What every run is held to. Two more have no moment of their own: `leaks`, when an agent is stopped (`World.leftBehind`),
 * and `errors`, when an agent says that it is broken or a promise is rejected with nobody to hear it.
 */
export const CHECKERS: readonly Checker[] = [agreement, durability, authority, flows, bounds]
