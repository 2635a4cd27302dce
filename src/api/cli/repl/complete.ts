import type { ActorDetailJson } from '../../../actors/operator/actor-json.ts'
import { HANDLE_MEMBERS, HANDLE_METHODS } from './handle.ts'

/** What the completer asks of the live agent. */
export interface LiveActors {
  /** Addresses, services by name too; of another peer where `begun` names one, and peers where it is about to. */
  paths(begun: string): Promise<string[]>
  /** Null when there is no such actor. */
  takes(path: string): Promise<ActorDetailJson['takes'] | null>
  /** The address that a variable of the session stands for; null when it is no actor. */
  variable(name: string): string | null
}

export type Completion = [completions: string[], completed: string]

const QUOTED = String.raw`actor\(\s*['"\x60]([^'"\x60]*)['"\x60]\s*\)`
const SUBJECT = String.raw`(?:${QUOTED}|([A-Za-z_$][\w$]*))`
const PATH = /actor\(\s*['"`]([^'"`]*)$/
const MEMBER = new RegExp(String.raw`${SUBJECT}\.(\w*)$`)
const EVENT = new RegExp(String.raw`${SUBJECT}\.(?:send|tell)\(\s*(?:\{\s*type\s*:\s*)?['"\x60]([^'"\x60]*)$`)
const FIELD = new RegExp(
  String.raw`${SUBJECT}\.(?:send|tell)\(\s*\{\s*type\s*:\s*['"\x60]([^'"\x60]+)['"\x60]\s*,([^}]*?)(\w*)$`
)

/** Live actors inside `actor('`, an actor's events inside `.send('`, their fields after them, members; else null. */
export async function completeActor(line: string, live: LiveActors): Promise<Completion | null> {
  const path = PATH.exec(line)
  if (path != null) return starting(await live.paths(path[1]!), path[1]!)
  const event = EVENT.exec(line)
  if (event != null) {
    const takes = await takesOf(event, live)
    return (
      takes &&
      starting(
        takes.toSorted((a, b) => Number(b.now) - Number(a.now)).map(({ type }) => type),
        event[3]!
      )
    )
  }
  const field = FIELD.exec(line)
  if (field != null) {
    const [, , , type, given, begun] = field
    const fields = (await takesOf(field, live))?.find((one) => one.type === type)?.fields
    if (fields == null) return null
    const left = Object.keys(fields).filter((name) => !new RegExp(String.raw`\b${name}\s*:`).test(given!))
    return starting(
      left.map((name) => `${name}: `),
      begun!
    )
  }
  const member = MEMBER.exec(line)
  const subject = member == null ? null : subjectOf(member, live)
  if (subject == null) return null
  return starting([...HANDLE_MEMBERS, ...HANDLE_METHODS.map((name) => `${name}(`)], member![3]!)
}

const starting = (all: readonly string[], begun: string): Completion => [
  all.filter((one) => one.startsWith(begun)),
  begun
]

const subjectOf = ([, quoted, name]: RegExpExecArray, live: LiveActors): string | null =>
  quoted ?? (name == null ? null : live.variable(name))

async function takesOf(match: RegExpExecArray, live: LiveActors): Promise<ActorDetailJson['takes'] | null> {
  const path = subjectOf(match, live)
  return path == null ? null : live.takes(path)
}
