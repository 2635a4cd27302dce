import { homedir } from 'node:os'
import { join } from 'node:path'
import type { Command } from '../command.ts'

export const replCommands: readonly Command[] = [
  {
    words: ['repl'],
    summary: "A JavaScript prompt with the live actors: tree(), actor('service:web')",
    endless: true,
    ownCtrlC: true,
    flags: [
      { name: 'write', kind: 'boolean', help: '.send() is allowed; without it the session only reads' },
      {
        name: 'peer',
        kind: 'text',
        placeholder: 'P',
        live: 'peer',
        field: 'peer',
        help: "of that member's agent instead"
      }
    ],
    examples: ['arctic repl', `echo "await actor('netmgr').state" | arctic repl`],
    async run({ api, print, streams, env, signal }, { flags }) {
      const { runRepl } = await import('../repl/session.ts')
      const terminal = streams.stdin.isTTY === true && streams.stdout.isTTY === true
      await runRepl({
        api,
        stdin: streams.stdin,
        stdout: streams.stdout,
        terminal,
        colours: print.colours,
        peer: flags['peer'] as string | undefined,
        write: flags['write'] === true,
        historyFile: env['ARCTIC_REPL_HISTORY'] ?? join(homedir(), '.arctic_repl_history'),
        signal
      })
    }
  }
]
