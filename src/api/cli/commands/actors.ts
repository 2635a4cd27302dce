import type { ActorJson } from '../../../actors/operator/operator.ts'
import type { Command } from '../command.ts'

export const actorCommands: readonly Command[] = [
  {
    words: ['actors', 'tree'],
    summary: "The tree of this agent's actors and their states",
    async run({ api, print }) {
      const root = await api.get<ActorJson>('/v1/actors')
      await print.data(root, async () => (await import('../views/actor.ts')).actorTreeText(root, print.colours))
    }
  }
]
