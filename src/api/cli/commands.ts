import type { Command, Flag } from './command.ts'
import { FORMATS } from './formats.ts'
import { actorCommands } from './commands/actors.ts'
import { agentCommands } from './commands/agent.ts'
import { clusterCommands } from './commands/cluster.ts'
import { contextCommands } from './commands/context.ts'
import { declareCommands } from './commands/declare.ts'
import { historyCommands } from './commands/history.ts'
import { doctorCommands } from './commands/doctor.ts'
import { licenseCommands } from './commands/license.ts'
import { peerCommands } from './commands/peers.ts'
import { replCommands } from './commands/repl.ts'
import { routeCommands } from './commands/routes.ts'
import { shellCommands } from './commands/shell.ts'
import { serviceCommands } from './commands/services.ts'
import { simCommands } from './commands/sim.ts'
import { bugreportCommands } from './commands/bugreport.ts'
import { topCommands } from './commands/top.ts'
import { statusCommands } from './commands/status.ts'
import { tokenCommands } from './commands/tokens.ts'

/** Every command there is, in the order help shows them. */
export const COMMANDS: readonly Command[] = [
  ...agentCommands,
  ...clusterCommands,
  ...historyCommands,
  ...peerCommands,
  ...serviceCommands,
  ...routeCommands,
  ...declareCommands,
  ...tokenCommands,
  ...licenseCommands,
  ...statusCommands,
  ...doctorCommands,
  ...actorCommands,
  ...replCommands,
  ...topCommands,
  ...bugreportCommands,
  ...contextCommands,
  ...shellCommands,
  ...simCommands
]

/** Flags of every command; they may stand before or after it. */
export const GLOBAL_FLAGS: readonly Flag[] = [
  { name: 'socket', kind: 'text', placeholder: 'PATH', live: 'file', help: "the agent's unix socket (ARCTIC_SOCKET)" },
  { name: 'api', kind: 'text', placeholder: 'URL', help: "the agent's TCP address instead (ARCTIC_API)" },
  { name: 'token', kind: 'text', placeholder: 'TOKEN', help: 'bearer token for --api (ARCTIC_TOKEN)' },
  {
    name: 'fingerprint',
    kind: 'text',
    placeholder: 'SHA256',
    help: 'the only certificate to trust at --api, as "status" shows it there'
  },
  { name: 'api-plain', kind: 'boolean', help: 'send a token even over plain http:// to another host' },
  {
    name: 'context',
    kind: 'text',
    placeholder: 'NAME',
    live: 'context',
    help: 'an agent named by "context add" (ARCTIC_CONTEXT)'
  },
  { name: 'json', kind: 'boolean', short: 'j', help: 'JSON output, the same as -o json' },
  {
    name: 'output',
    kind: FORMATS,
    short: 'o',
    placeholder: 'FORMAT',
    help: 'table, wide, json, yaml, name (KIND/ID) or jsonl (an object per line)'
  },
  { name: 'help', kind: 'boolean', short: 'h', help: 'help for the command' },
  { name: 'version', kind: 'boolean', help: 'the version of this program' }
]

/** Nouns are plural, except where there is one thing only, and contexts, as kubectl's are; the other form is understood. */
const SINGULAR: Record<string, string> = {
  peer: 'peers',
  service: 'services',
  route: 'routes',
  token: 'tokens',
  actor: 'actors',
  contexts: 'context'
}

export const nouns = (): string[] => [
  ...new Set(COMMANDS.flatMap(({ words: [noun, verb] }) => (noun != null && verb != null ? [noun] : [])))
]

export function nounOf(word: string): string | null {
  const noun = (Object.hasOwn(SINGULAR, word) ? SINGULAR[word] : undefined) ?? word
  return nouns().includes(noun) ? noun : null
}

export const verbsOf = (noun: string): string[] =>
  COMMANDS.flatMap(({ words: [first, verb] }) => (first === noun && verb != null ? [verb] : []))
