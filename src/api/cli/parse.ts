import { parseArgs } from 'node:util'
import { didYouMean } from '../did-you-mean.ts'
import type { Command, Flag, FlagValue, Input } from './command.ts'
import { COMMANDS, GLOBAL_FLAGS, nounOf, nouns, verbsOf } from './commands.ts'
import { type Failure, usageFailure } from './failure.ts'
import { idOf } from './names.ts'
import { oneOf, readValue } from './values.ts'

/** What an argv asks for. `globals` is there even when the rest is wrong, so that the failure can be said as asked. */
export interface Parsed {
  globals: Readonly<Record<string, FlagValue>>
  ask:
    | { kind: 'run'; command: Command; input: Input }
    | { kind: 'help'; words: readonly string[] }
    | { kind: 'version' }
    | { kind: 'wrong'; failure: Failure }
}

/**
 * 1. Tokens, by all flags of all commands together (a flag takes a value in every command or in none).
 * 2. The words before the first unknown one name the command; flags may stand anywhere.
 * 3. Each flag is checked against that command's own and the global ones.
 */
export function parse(argv: readonly string[]): Parsed {
  const { tokens: read } = parseArgs({
    args: [...argv],
    options: allOptions(),
    strict: false,
    allowPositionals: true,
    tokens: true
  })
  const tokens = withBareValues(read)
  const words = tokens.flatMap((token) => (token.kind === 'positional' ? [token.value] : []))
  const options = tokens.flatMap((token) => (token.kind === 'option' ? [token] : []))
  const globals: Record<string, FlagValue> = {}
  const wrong = (failure: Failure): Parsed => ({ globals, ask: { kind: 'wrong', failure } })

  const found = findCommand(words)
  const help = found.words.join(' ')
  // A command's own meaning of a flag comes first: -o is a format, and of a report its file.
  const known = [...(found.command?.flags ?? []), ...GLOBAL_FLAGS]
  const given: Record<string, FlagValue> = {}
  let failure: Failure | undefined
  for (const option of options) {
    const read = readOption(option, known, { help, refuses: found.command?.refuses })
    if ('failure' in read) {
      // The flag that was taken for a forgotten value still says how the failure is to be told.
      if (option.value === '-j' || option.value === '--json') globals['json'] = true
      failure ??= read.failure
      continue
    }
    const isGlobal = GLOBAL_FLAGS.includes(read.flag)
    const into = isGlobal ? globals : given
    const before = Object.hasOwn(into, read.flag.name) ? into[read.flag.name] : undefined
    if (before !== undefined && read.flag.many === true) {
      into[read.flag.name] = `${before},${read.value}`
      continue
    }
    if (before !== undefined && before !== read.value) {
      failure ??= usageFailure(`--${read.flag.name} is given twice with different values`, help)
    }
    into[read.flag.name] = read.value
  }

  if (globals['help'] === true) return { globals, ask: { kind: 'help', words: found.words } }
  if (globals['version'] === true && words.length === 0) return { globals, ask: { kind: 'version' } }
  if (words[0] === 'help') return helpFor(words.slice(1), globals, wrong)
  if (words[0] === 'version' && words.length === 1) return { globals, ask: { kind: 'version' } }
  const { command } = found
  if (command == null) return wrong(failureOfWords(words))
  if (failure != null) return wrong(failure)

  const args: Record<string, string> = {}
  const expected = command.args ?? []
  for (const [index, { name, help: meaning, optional, choices }] of expected.entries()) {
    const value = found.rest[index]
    if (value == null && optional === true) break
    if (value == null || value === '') return wrong(usageFailure(`${name} is missing: ${meaning}`, help))
    if (choices?.includes(value) === false) {
      return wrong(usageFailure(`${name} "${value}" is not ${oneOf(choices, value)}`, help))
    }
    args[name] = idOf(value)
  }
  const extra = found.rest[expected.length]
  if (extra != null) {
    const boolean = extra === 'true' || extra === 'false' ? `; a switch takes its value as --FLAG=${extra}` : ''
    return wrong(usageFailure(`unexpected argument "${extra}"${boolean}`, help))
  }
  for (const flag of command.flags ?? []) {
    if (flag.required === true && given[flag.name] == null) {
      return wrong(usageFailure(`--${flag.name} ${placeholder(flag)} is missing`, help))
    }
  }
  const fields: Record<string, FlagValue> = {}
  for (const flag of command.flags ?? []) {
    const value = given[flag.name]
    if (flag.field != null && value !== undefined) fields[flag.field] = value
  }
  return { globals, ask: { kind: 'run', command, input: { args, flags: given, fields } } }
}

export const placeholder = (flag: Flag): string =>
  flag.placeholder ?? (Array.isArray(flag.kind) ? flag.kind.join('|') : 'VALUE')

const takesValue = (flag: Flag): boolean => flag.kind !== 'boolean'

/** A flag that cannot stand alone. */
export const needsValue = (flag: Flag): boolean => takesValue(flag) && flag.bare !== true

function allOptions(): Record<string, { type: 'string' | 'boolean'; short?: string }> {
  const options: Record<string, { type: 'string' | 'boolean'; short?: string }> = {}
  for (const flag of [...GLOBAL_FLAGS, ...COMMANDS.flatMap(({ flags }) => flags ?? [])]) {
    options[flag.name] = {
      type: needsValue(flag) ? 'string' : 'boolean',
      ...(flag.short == null ? {} : { short: flag.short })
    }
  }
  return options
}

/** The longest run of leading words that names a noun, or a command, and what follows it. */
export function findCommand(words: readonly string[]): { words: string[]; command: Command | null; rest: string[] } {
  const [first = '', second = '', ...rest] = words
  const noun = nounOf(first)
  const single = COMMANDS.find((command) => command.words.length === 1 && command.words[0] === first)
  if (single != null) return { words: [first], command: single, rest: words.slice(1) }
  if (noun == null) return { words: [], command: null, rest: [...words] }
  const command = COMMANDS.find((one) => one.words[0] === noun && one.words[1] === second)
  return command == null
    ? { words: [noun], command: null, rest: words.slice(1) }
    : { words: [noun, second], command, rest }
}

function failureOfWords(words: readonly string[]): Failure {
  const [first, second] = words
  if (first == null) return usageFailure('no command is given')
  const noun = nounOf(first)
  if (noun == null) {
    const singles = COMMANDS.flatMap((command) => (command.words.length === 1 ? [...command.words] : []))
    return usageFailure(`unknown command "${first}"${hint(first, [...nouns(), ...singles, 'help', 'version'])}`)
  }
  const verbs = verbsOf(noun)
  if (second == null) return usageFailure(`"${noun}" needs one of ${verbs.join(', ')}`, noun)
  return usageFailure(`unknown command "${noun} ${second}"${hint(second, verbs)}`, noun)
}

function helpFor(words: readonly string[], globals: Parsed['globals'], wrong: (failure: Failure) => Parsed): Parsed {
  const found = findCommand(words)
  if (words.length > 0 && found.words.length < Math.min(words.length, 2) && found.command == null) {
    return wrong(failureOfWords(words))
  }
  return { globals, ask: { kind: 'help', words: found.words } }
}

type Token = NonNullable<ReturnType<typeof parseArgs>['tokens']>[number]

/** `--wait 10s`: the word after a flag that may stand bare is its value if it reads as one, else a word of its own. */
function withBareValues(tokens: readonly Token[]): Token[] {
  const bare = new Map(
    COMMANDS.flatMap(({ flags = [] }) => flags.filter((flag) => flag.bare)).map((flag) => [flag.name, flag])
  )
  const all: Token[] = []
  for (const token of tokens) {
    const last = all.at(-1)
    const flag = last?.kind === 'option' && last.value == null ? bare.get(last.name) : undefined
    const follows = token.kind === 'positional' && last != null && token.index === last.index + 1
    if (flag != null && follows && last?.kind === 'option' && 'value' in readValue(flag, token.value)) {
      all[all.length - 1] = { ...last, value: token.value, inlineValue: false }
    } else {
      all.push(token)
    }
  }
  return all
}

interface OptionToken {
  name: string
  rawName: string
  value?: string | undefined
  inlineValue?: boolean | undefined
}

function readOption(
  option: OptionToken,
  known: readonly Flag[],
  { help, refuses = {} }: { help: string; refuses?: Command['refuses'] }
): { flag: Flag; value: FlagValue } | { failure: Failure } {
  const wrong = (message: string): { failure: Failure } => ({ failure: usageFailure(message, help) })
  const { name, rawName, inlineValue } = option
  // `-o=json` is what kubectl's users type; node:util takes the sign for a part of the value.
  const short = !rawName.startsWith('--')
  const value = short && inlineValue === true && option.value?.startsWith('=') ? option.value.slice(1) : option.value
  const flag = known.find((one) => one.name === name)
  if (flag == null) {
    const negated = known.find((one) => one.negatable === true && `no-${one.name}` === name)
    const why = Object.hasOwn(refuses, name) ? refuses[name] : undefined
    if (why != null) return wrong(why)
    if (negated == null) {
      return wrong(
        `unknown flag "${rawName}"${hint(
          name,
          known.map((one) => one.name),
          '--'
        )}`
      )
    }
    if (value != null) return wrong(`${rawName} takes no value`)
    return { flag: negated, value: negated.kind === 'boolean' ? false : null }
  }
  if (!needsValue(flag) && value == null) return { flag, value: true }
  // `--name -j` is a forgotten value; a value that really starts with a dash is written `--name=-j`.
  if (value == null || (inlineValue !== true && /^-[^\d]/.test(value))) {
    return wrong(`--${flag.name} needs a value: --${flag.name} ${placeholder(flag)}`)
  }
  const read = readValue(flag, value)
  return 'expected' in read ? wrong(`--${flag.name} "${value}" is not ${read.expected}`) : { flag, value: read.value }
}

function hint(word: string, known: readonly string[], dashes = ''): string {
  const nearest = didYouMean(word, known)
  return nearest == null ? '' : `; did you mean "${dashes}${nearest}"?`
}
