import type { LicenseJson } from '../../../actors/operator/license.ts'
import type { Command } from '../command.ts'

export const licenseCommands: readonly Command[] = [
  {
    words: ['license', 'show'],
    summary: "Edition, limits, usage and expiry of this agent's licence",
    async run({ api, print }) {
      const license = await api.get<LicenseJson>('/v1/license')
      await print.data(license, async () => (await import('../views/license.ts')).licenseText(license, print.colours))
    }
  }
]
