import type { ChangeJson } from '../../actors/operator/history-json.ts'
import type { PeerJson, RouteJson, ServiceJson } from '../../actors/operator/operator.ts'
import type { TokenJson } from '../../actors/operator/tokens.ts'
import type { Clock } from '../../clock.ts'
import { SCOPES } from '../../crdt/scopes.ts'
import { Client } from './client.ts'
import type { Flag, FlagValue, Live } from './command.ts'
import { COMMANDS, GLOBAL_FLAGS, nounOf, nouns, verbsOf } from './commands.ts'
import { contextPath, readContextFile } from './contexts.ts'
import { explainable } from './explain.ts'
import { SHELLS } from './formats.ts'
import { completionsMax, completionTimeoutMs } from './limits.ts'
import { findCommand, needsValue, parse } from './parse.ts'
import { chooseTarget } from './target.ts'

interface Candidate {
  value: string
  what: string
}

type Env = Readonly<Record<string, string | undefined>>

/**
 * What may stand where the cursor is. `words` are those before it and the one begun there, maybe empty. Never fails: an
 * agent that is away or slow only means that its ids are missing.
 * 1. After a flag that takes a value: its values. 2. After a dash: flags. 3. Else: words of a command, then arguments.
 */
export async function complete(
  words: readonly string[],
  env: Env,
  { clock, signal }: { clock: Clock; signal: AbortSignal }
): Promise<string> {
  // bash makes a word of its own of the = in --flag=value.
  const typed = words.filter((word) => word !== '=')
  const inline = /^(--[a-z0-9-]+)=(.*)$/s.exec(typed.at(-1) ?? '')
  const before = inline == null ? typed.slice(0, -1) : [...typed.slice(0, -1), inline[1]!]
  const begun = words.at(-1) === '=' ? '' : (inline?.[2] ?? typed.at(-1) ?? '')
  const ask = async (live: Live): Promise<Candidate[]> =>
    listLive(live, before, env, { clock, signal }).catch((): Candidate[] => [])
  const positional = positionals(before)
  const { command } = findCommand(positional)
  const known = [...GLOBAL_FLAGS, ...(command?.flags ?? [])]
  const pending = flagOf(before.at(-1), known)
  let candidates: Candidate[]
  if (pending != null && needsValue(pending)) {
    if (pending.live === 'file') return ':file\n'
    candidates = Array.isArray(pending.kind)
      ? pending.kind.map((value) => ({ value, what: '' }))
      : pending.live == null
        ? []
        : await ask(pending.live)
  } else if (begun.startsWith('-')) {
    const given = new Set(before)
    candidates = known
      .flatMap(({ name, help, negatable }) => [
        { value: `--${name}`, what: help },
        ...(negatable === true ? [{ value: `--no-${name}`, what: `not: ${help}` }] : [])
      ])
      .filter(({ value }) => !given.has(value))
  } else {
    candidates = await wordsAfter(positional, ask)
  }
  const prefix = inline != null && words.at(-1) === typed.at(-1) ? `${inline[1]}=` : ''
  return candidates
    .filter(({ value }) => value.startsWith(begun))
    .slice(0, completionsMax)
    .map(({ value, what }) => `${prefix}${value}\t${what.replaceAll(/[^\x20-\x7e]/g, '?')}\n`)
    .join('')
}

async function wordsAfter(
  positional: readonly string[],
  ask: (live: Live) => Promise<Candidate[]>
): Promise<Candidate[]> {
  const [first, second] = positional
  if (first === 'help' && positional.length > 1) return wordsAfter(positional.slice(1), async () => [])
  if (first == null || first === 'help') {
    const singles = COMMANDS.filter(({ words }) => words.length === 1)
    return [
      ...nouns().map((value) => ({ value, what: verbsOf(value).join(', ') })),
      ...singles.map(({ words, summary }) => ({ value: words.join(' '), what: summary })),
      ...(first == null ? [{ value: 'help', what: 'help for a command' }] : [])
    ]
  }
  const { command, rest } = findCommand(positional)
  if (command != null) {
    const { live, choices = [] } = command.args?.[rest.length] ?? {}
    return live == null ? choices.map((value) => ({ value, what: '' })) : ask(live)
  }
  const noun = second == null ? nounOf(first) : null
  if (noun == null) return []
  return COMMANDS.filter(({ words }) => words[0] === noun).map(({ words, summary }) => ({
    value: words[1] ?? '',
    what: summary
  }))
}

/** The words that are neither flags nor their values. */
function positionals(words: readonly string[]): string[] {
  const every = [...GLOBAL_FLAGS, ...COMMANDS.flatMap(({ flags }) => flags ?? [])]
  return words.filter((word, index) => {
    const value = flagOf(words[index - 1], every)
    return !word.startsWith('-') && (value == null || !needsValue(value))
  })
}

function flagOf(word: string | undefined, known: readonly Flag[]): Flag | undefined {
  const name = /^--?([a-z0-9-]+)$/.exec(word ?? '')?.[1]
  if (name == null) return undefined
  return known.find((flag) => (word?.startsWith('--') === true ? flag.name === name : flag.short === name))
}

async function listLive(
  live: Live,
  words: readonly string[],
  env: Env,
  { clock, signal }: { clock: Clock; signal: AbortSignal }
): Promise<Candidate[]> {
  const { globals } = parse(words)
  const client = async (): Promise<Client> => new Client(await chooseTarget(globals, env), { clock, signal })
  const read = async <T>(path: string, query: Record<string, FlagValue> = {}): Promise<T[]> =>
    (await client()).get<T[]>(path, { query, timeoutMs: completionTimeoutMs })
  switch (live) {
    case 'service': {
      const services = await read<ServiceJson>('/v1/services', { limit: completionsMax })
      return services.map(({ id, name }) => ({ value: id, what: name }))
    }
    case 'route': {
      const at = words.indexOf('--service')
      const routes = await read<RouteJson>('/v1/routes', {
        limit: completionsMax,
        ...(at < 0 ? {} : { service_id: words[at + 1] ?? '' })
      })
      return routes.map((route) => ({
        value: route.id,
        what: `${route.source_cidr ?? 'any'} to ${route.dest_cidr ?? 'any'}`
      }))
    }
    case 'peer': {
      const peers = await read<PeerJson>('/v1/peers', { all: true })
      // A name that a shell would read as more than a name is not offered; the id says the same.
      return peers.map(({ id, name, state }) =>
        name != null && /^[\w.@+-]+$/.test(name)
          ? { value: name, what: `${state} ${id}` }
          : { value: id, what: `${state} ${name ?? ''}` }
      )
    }
    case 'token': {
      const tokens = await read<TokenJson>('/v1/tokens', { limit: completionsMax })
      return tokens.map(({ id, name }) => ({ value: id, what: name }))
    }
    case 'scope':
      return SCOPES.map((value) => ({ value, what: '' }))
    case 'change': {
      const changes = await read<ChangeJson>('/v1/cluster/history', { limit: completionsMax })
      return changes.map(({ id, at, author_name, objects }) => ({
        value: id.slice(0, 12),
        what: `${at} ${author_name ?? ''} ${objects.map(({ kind, action }) => `${kind} ${action}`).join(', ')}`
      }))
    }
    case 'context': {
      const path = contextPath(env)
      if (path == null) return []
      const { contexts } = await readContextFile(path)
      return Object.entries(contexts)
        .filter(([name]) => /^[\w.@+-]+$/.test(name))
        .map(([name, { api, socket }]) => ({ value: name, what: api ?? socket ?? '' }))
    }
    case 'object':
      return explainable().map((value) => ({ value, what: '' }))
    case 'shell':
      return SHELLS.map((value) => ({ value, what: '' }))
    case 'file':
      return []
  }
}
