import type { Command, Flag } from './command.ts'
import { COMMANDS, GLOBAL_FLAGS } from './commands.ts'
import { placeholder } from './parse.ts'

/** Help for the words given: everything, a noun, or one command. */
export function helpText(words: readonly string[]): string {
  const matching = COMMANDS.filter((command) => words.every((word, index) => command.words[index] === word))
  const [only] = matching
  const text =
    words.length === 0
      ? overview()
      : matching.length === 1 && only != null
        ? ofCommand(only)
        : ofNoun(words[0], matching)
  return `${text.join('\n')}\n`
}

function overview(): string[] {
  return [
    'arctic: a mesh between hosts that carries the traffic you choose, with no server in the middle',
    '',
    'Usage: arctic [FLAGS] COMMAND …',
    '',
    'Commands:',
    ...pairs(COMMANDS.map((command) => [usage(command), command.summary])),
    '',
    'Flags, before or after the command:',
    ...flagLines(GLOBAL_FLAGS),
    '',
    'Peers are named by id, by a unique start of the id, or by name. Nouns also work in the singular.',
    'Exit codes: 0 done, 1 failed, 2 wrong usage, 3 agent not reachable, 4 not found, 5 conflict or limit, 6 not permitted.',
    'More: arctic COMMAND --help'
  ]
}

function ofNoun(noun: string | undefined, commands: readonly Command[]): string[] {
  return [
    `Usage: arctic ${noun ?? ''} COMMAND …`,
    '',
    'Commands:',
    ...pairs(commands.map((command) => [usage(command), command.summary])),
    '',
    `More: arctic ${noun ?? ''} COMMAND --help`
  ]
}

function ofCommand(command: Command): string[] {
  const { args = [], flags = [], examples = [] } = command
  return [
    command.summary,
    '',
    `Usage: arctic ${usage(command)}${flags.some(({ required }) => required !== true) ? ' [FLAGS]' : ''}`,
    ...(args.length === 0 ? [] : ['', 'Arguments:', ...pairs(args.map(({ name, help }) => [name, help]))]),
    ...(flags.length === 0 ? [] : ['', 'Flags:', ...flagLines(flags)]),
    ...(command.run == null ? [] : ['', 'Flags of every command:', ...flagLines(GLOBAL_FLAGS)]),
    ...(examples.length === 0 ? [] : ['', 'Examples:', ...examples.map((example) => `  ${example}`)])
  ]
}

/** `services update ID`, `routes add --service ID`. */
function usage({ words, args = [], flags = [] }: Command): string {
  const required = flags.flatMap((flag) => (flag.required === true ? [`--${flag.name} ${placeholder(flag)}`] : []))
  return [...words, ...args.map(({ name, optional }) => (optional === true ? `[${name}]` : name)), ...required].join(
    ' '
  )
}

const flagLines = (flags: readonly Flag[]): string[] =>
  pairs(
    flags.map((flag) => {
      const short = flag.short == null ? '' : `-${flag.short}, `
      const no = flag.negatable === true ? '[no-]' : ''
      const value = flag.kind === 'boolean' ? '' : flag.bare ? ` [${placeholder(flag)}]` : ` ${placeholder(flag)}`
      return [`${short}--${no}${flag.name}${value}`, flag.help]
    })
  )

/** Two aligned columns; an entry too long for the first stands on its own line. */
function pairs(rows: ReadonlyArray<readonly [left: string, right: string]>): string[] {
  const width = Math.min(34, Math.max(...rows.map(([left]) => left.length)))
  return rows.flatMap(([left, right]) =>
    left.length > width ? [`  ${left}`, `  ${' '.repeat(width)}  ${right}`] : [`  ${left.padEnd(width)}  ${right}`]
  )
}
