import type { Command } from '../command.ts'
import { SHELLS } from '../formats.ts'
import { usageFailure } from '../failure.ts'

/** What needs no agent: the fields of each object, and completion for shells. */
export const shellCommands: readonly Command[] = [
  {
    words: ['explain'],
    local: true,
    summary: 'Fields of an object, from the schemas that validate it: service, service.status, errors, …',
    args: [
      {
        name: 'OBJECT',
        help: 'service, route, peer, cluster, status, mesh, applied, route-test or errors',
        live: 'object'
      }
    ],
    examples: ['arctic explain service', 'arctic explain service.status.conditions', 'arctic explain errors'],
    async run({ print }, { args: { OBJECT = '' } }) {
      const { explain } = await import('../explain.ts')
      const explanation = explain(OBJECT)
      await print.data(explanation, async () =>
        (await import('../views/explanation.ts')).explanationText(explanation, print.colours)
      )
    }
  },
  {
    words: ['completion'],
    local: true,
    summary: 'Print a script that teaches a shell to complete arctic commands, flags and live ids',
    args: [{ name: 'SHELL', help: SHELLS.join(', '), live: 'shell' }],
    examples: [
      'source <(arctic completion bash)',
      'arctic completion zsh > "${fpath[1]}/_arctic"',
      'arctic completion fish > ~/.config/fish/completions/arctic.fish'
    ],
    async run({ print }, { args: { SHELL = '' } }) {
      const { completionScript } = await import('../completion-scripts.ts')
      const script = completionScript(SHELL)
      if (script == null)
        throw usageFailure(`no completion for "${SHELL}"; there is ${SHELLS.join(', ')}`, 'completion')
      await print.data({ shell: SHELL, script }, () => script)
    }
  }
]
