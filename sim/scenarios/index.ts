import { adminRevoked } from './admin-revoked.ts'
import { calm } from './calm.ts'
import { clockTrouble } from './clock-trouble.ts'
import { clonedPeer } from './cloned-peer.ts'
import { diskFull } from './disk-full.ts'
import { engineCrashes } from './engine-crashes.ts'
import { flappingWan } from './flapping-wan.ts'
import { hostileStranger } from './hostile-stranger.ts'
import { limpingHosts } from './limping-hosts.ts'
import { massReboot } from './mass-reboot.ts'
import { mixedVersions } from './mixed-versions.ts'
import { peersJoin } from './peers-join.ts'
import { rollingUpgrade } from './rolling-upgrade.ts'
import type { Scenario } from './scenario.ts'
import { splitSite } from './split-site.ts'
import { traitor } from './traitor.ts'
import { twoAdmins } from './two-admins.ts'

export const SCENARIOS: readonly Scenario[] = [
  calm,
  splitSite,
  flappingWan,
  massReboot,
  rollingUpgrade,
  mixedVersions,
  twoAdmins,
  adminRevoked,
  peersJoin,
  clonedPeer,
  traitor,
  hostileStranger,
  limpingHosts,
  engineCrashes,
  diskFull,
  clockTrouble
]

export const scenarioNamed = (name: string): Scenario | undefined => SCENARIOS.find((one) => one.name === name)
