import { calm } from './calm.ts'
import { flappingWan } from './flapping-wan.ts'
import { hostileStranger } from './hostile-stranger.ts'
import { massReboot } from './mass-reboot.ts'
import { peersJoin } from './peers-join.ts'
import { rollingUpgrade } from './rolling-upgrade.ts'
import type { Scenario } from './scenario.ts'
import { splitSite } from './split-site.ts'
import { twoAdmins } from './two-admins.ts'

export const SCENARIOS: readonly Scenario[] = [
  calm,
  splitSite,
  flappingWan,
  massReboot,
  rollingUpgrade,
  twoAdmins,
  peersJoin,
  hostileStranger
]

export const scenarioNamed = (name: string): Scenario | undefined => SCENARIOS.find((one) => one.name === name)
