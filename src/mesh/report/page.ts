import { MisspokenError } from '../misspoken.ts'
import { reportRemovalsMax, reportsPerMessageMax, reportTextMax } from '../limits.ts'
import type { ServiceReport } from '../mesh.ts'
import type { Channel } from '../network.ts'
import type { Mark, ReportDelta } from './book.ts'

/** One message of an answer; `more` follow. */
export type Page = ReportDelta & { more: boolean }

/** A question: what is new since, and from then on (`follow`). MisspokenError for anything else. */
export function parseQuestion(message: Uint8Array): { since: number; incarnation: number; follow: boolean } {
  const { since, incarnation, follow } = parseObject(message)
  if (!isCount(since) || !isCount(incarnation)) throw malformed('a question has no numbers')
  return { since, incarnation, follow: follow === true }
}

/** Sends a delta as one answer; how far it goes. */
export async function sendDelta(channel: Channel, delta: ReportDelta): Promise<Mark> {
  const count = Math.max(1, Math.ceil(delta.changed.length / reportsPerMessageMax))
  for (let i = 0; i < count; i++) {
    const changed = delta.changed.slice(i * reportsPerMessageMax, (i + 1) * reportsPerMessageMax)
    const page: Page = { ...delta, changed, removed: i === 0 ? delta.removed : [], more: i < count - 1 }
    await channel.send(Buffer.from(JSON.stringify(page)))
  }
  return { incarnation: delta.incarnation, seq: delta.seq }
}

/**
 * A page as another peer sent it. Its reports are used all over the agent, so each field is what it has to be or the page
 * is none; fields that newer versions add are left out. MisspokenError.
 */
export function parsePage(message: Uint8Array): Page {
  const { incarnation, seq, whole, changed, removed, more } = parseObject(message)
  if (!isCount(incarnation) || !isCount(seq)) throw malformed('a page has no numbers')
  if (typeof whole !== 'boolean' || typeof more !== 'boolean') throw malformed('a page does not say what it is')
  if (!Array.isArray(changed) || changed.length > reportsPerMessageMax) throw malformed('a page has no list of reports')
  if (!Array.isArray(removed) || removed.length > 2 * reportRemovalsMax)
    throw malformed('a page has no list of removals')
  if (!removed.every(isText)) throw malformed('a removal is no text')
  return { incarnation, seq, whole, more, changed: changed.map(parseReport), removed }
}

function parseReport(value: unknown): ServiceReport {
  const report = (value ?? {}) as Partial<Record<keyof ServiceReport, unknown>>
  const { service_id, role, spec, state, reason, message, since, effective_transport: transport } = report
  const { flows, bytes_in, bytes_out } = report
  if (![service_id, spec, reason, message].every(isText)) throw malformed('a report lacks a text')
  if (role !== 'source' && role !== 'target') throw malformed('a report is of no role')
  if (state !== 'applied' && state !== 'failed') throw malformed('a report is of no state')
  if (transport !== null && transport !== 'tcp' && transport !== 'kcp') throw malformed('a report names no transport')
  if (![since, flows, bytes_in, bytes_out].every(isCount)) throw malformed('a report lacks a number')
  const warnings = parseWarnings(report.warnings)
  return {
    service_id: service_id as string,
    role,
    spec: spec as string,
    state,
    reason: reason as string,
    message: message as string,
    since: since as number,
    effective_transport: transport,
    interface: parseInterface(report.interface),
    ...(warnings == null ? {} : { warnings }),
    flows: flows as number,
    bytes_in: bytes_in as number,
    bytes_out: bytes_out as number
  }
}

function parseInterface(value: unknown): ServiceReport['interface'] {
  if (value == null) return null
  const { name, mac, ipv4, ipv6 } = value as Record<string, unknown>
  const orNull = (text: unknown): text is string | null => text === null || isText(text)
  if (!isText(name) || !orNull(mac) || !orNull(ipv4) || !orNull(ipv6)) throw malformed('an interface is none')
  return { name, mac, ipv4, ipv6 }
}

function parseWarnings(value: unknown): ServiceReport['warnings'] | null {
  if (value === undefined) return null
  if (!Array.isArray(value) || value.length > WARNINGS_MAX) throw malformed('a report has no list of warnings')
  return value.map((warning) => {
    const { reason, message } = (warning ?? {}) as Record<string, unknown>
    if (!isText(reason) || !isText(message)) throw malformed('a warning is none')
    return { reason, message }
  })
}

/** More kinds of remarks than there are. */
const WARNINGS_MAX = 32

const isText = (value: unknown): value is string => typeof value === 'string' && value.length <= reportTextMax
const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0

function parseObject(message: Uint8Array): Record<string, unknown> {
  let parsed: unknown
  try {
    parsed = JSON.parse(Buffer.from(message).toString())
  } catch {
    throw malformed('it is no JSON')
  }
  if (parsed == null || typeof parsed !== 'object') throw malformed('it is no object')
  return parsed as Record<string, unknown>
}

const malformed = (why: string): MisspokenError =>
  new MisspokenError(
    'malformed',
    `a peer sent a message that is not of the report protocol: ${why}; compare both agents' versions`
  )
