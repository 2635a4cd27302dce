import type { StatusJson } from '../../../actors/operator/operator.ts'
import type { Command } from '../command.ts'

export const statusCommands: readonly Command[] = [
  {
    words: ['status'],
    summary: 'Health of this agent on one screen',
    async run({ api, print }) {
      const status = await api.get<StatusJson>('/v1/status')
      await print.data(status, async () => (await import('../views/status.ts')).statusText(status, print.colours))
    }
  }
]
