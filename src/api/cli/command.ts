import type { Readable, Writable } from 'node:stream'
import type { CheckJson } from '../../actors/operator/doctor.ts'
import type { Clock } from '../../clock.ts'
import type { Client } from './client.ts'
import type { Printer } from './printer.ts'

/**
 * A command is data (what it is called, what it takes) and one function. Parsing, help, did-you-mean and the body of the
 * request all come from the data, so they cannot disagree.
 */
export interface Command {
  /** `['services', 'create']` or `['status']`. */
  words: readonly string[]
  summary: string
  /** What `-o name` calls the objects it prints, e.g. `service`; without it, they have no names. */
  kind?: string
  /** Positional arguments; optional ones come last. */
  args?: readonly Argument[]
  flags?: readonly Flag[]
  /** Flags that one might expect of it, and why it has none. */
  refuses?: Readonly<Record<string, string>>
  /** Lines under the flags in its help. */
  examples?: readonly string[]
  /** Asks no agent: it runs without one, and whatever contexts say. */
  local?: true
  /** It goes on until Ctrl-C, which is then no failure. */
  endless?: true
  /** At a terminal Ctrl-C is the command's own: node breaks off what it evaluates only where nobody else listens for SIGINT. */
  ownCtrlC?: true
  /** Resolves with the exit code, if it is another than 0. Null: the command is listed here and run elsewhere. */
  run: ((context: Context, input: Input) => Promise<number | void>) | null
}

/** What a shell completes a value with: things that the agent knows, or this program. */
export type Live = 'service' | 'route' | 'peer' | 'change' | 'token' | 'scope' | 'context' | 'object' | 'shell' | 'file'

interface Argument {
  name: string
  help: string
  optional?: true
  live?: Live
  /** All that it may be. */
  choices?: readonly string[]
}

export interface Flag {
  /** Without the dashes. */
  name: string
  help: string
  /** How its text becomes a value. A `boolean` takes none; all others do. */
  kind: FlagKind
  /** It may stand without its value, which is then `true`; what follows it is its value when it reads as one. */
  bare?: true
  /** Given several times it is a list, the same as one value with commas. */
  many?: true
  /** What the value is called in help. */
  placeholder?: string
  live?: Live
  /** One letter. */
  short?: string
  required?: boolean
  /** `--no-NAME` is accepted: it sends false for a boolean, null for anything else. */
  negatable?: boolean
  /** Field of the request's body or query that carries it. */
  field?: string
}

type FlagKind = 'boolean' | 'text' | 'integer' | 'number' | 'duration' | readonly string[]

export type FlagValue = string | number | boolean | null

export interface Input {
  args: Readonly<Record<string, string>>
  /** By flag name; only what was given. */
  flags: Readonly<Record<string, FlagValue>>
  /** By API field; only what was given and has a field. */
  fields: Readonly<Record<string, FlagValue>>
}

export interface Context {
  api: Client
  globals: Readonly<Record<string, FlagValue>>
  env: Readonly<Record<string, string | undefined>>
  print: Printer
  clock: Clock
  /** Aborts on Ctrl-C and when nobody reads the output any more. */
  signal: AbortSignal
  /** Asks on the terminal; resolves with the answer. A no ends the command with exit 1 and `otherwise`. Rejects where nobody can be asked. */
  confirm: (question: string, otherwise?: string) => Promise<boolean>
  /** Somebody sits there: `confirm` can ask. */
  terminal: boolean
  /** Looks at this host without an agent; null where nothing can. */
  examineHost: (() => Promise<CheckJson[]>) | null
  /** For what talks with its user by itself. */
  streams: { stdin: Readable & { isTTY?: boolean }; stdout: Writable & { isTTY?: boolean } }
  /** Reads stdin to its end. */
  readInput: () => Promise<Buffer>
}
