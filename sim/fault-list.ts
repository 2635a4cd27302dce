import { FAULTS, type Fault, type FaultKind, type Takes } from './faults.ts'

/**
 * Faults as they are typed: `KIND@AT+FOR[:HOSTS|HOSTS][=AMOUNT]`, joined by `;`. Times are ms; HOSTS are their numbers, from 0, joined by
 * commas. RangeError says what is wrong with which part, and how that kind is written.
 */
export const parseFaults = (text: string): Fault[] =>
  text
    .split(';')
    .map((part) => part.trim())
    .filter((part) => part !== '')
    .map(parseFault)

function parseFault(text: string): Fault {
  const [, kind, at, forMs, hosts, amount] = FORM.exec(text) ?? []
  if (kind == null || !Object.hasOwn(FAULTS, kind)) {
    throw new RangeError(
      `"${text}" is no fault; write KIND@AT+FOR[:HOSTS|HOSTS][=AMOUNT] with one of ${Object.keys(FAULTS).join(' ')}`
    )
  }
  const fault: Fault = {
    kind: kind as FaultKind,
    at: Number(at),
    forMs: Number(forMs),
    groups: hosts == null ? [] : hosts.split('|').map((group) => group.split(',').filter(Boolean).map(Number)),
    amount: Number(amount ?? 0)
  }
  const wrong = wrongWith(fault, amount != null)
  if (wrong != null) throw new RangeError(`"${text}" ${wrong}; write ${formOf(fault.kind)}`)
  return fault
}

const FORM = /^([a-z-]+)@(\d+)\+(\d+)(?::([\d,|]+))?(?:=(-?\d+))?$/

/** What would make of it nothing at all, or something else than it says. */
function wrongWith({ kind, groups, amount }: Fault, hasAmount: boolean): string | null {
  const takes: Takes = FAULTS[kind].takes
  const named = groups.filter((group) => group.length > 0).length
  if (takes.hosts === 'some' && named === 0) return 'does not say which hosts'
  if (takes.hosts === 'two' && (named !== 2 || groups.length !== 2)) return 'does not say two groups of hosts'
  if (takes.amount == null) return hasAmount ? 'has an amount, which means nothing to it' : null
  const { least, most } = takes.amount
  if (!hasAmount || amount === 0) return 'does not say how much'
  return amount < least || amount > most ? `takes ${least} to ${most}` : null
}

/** As it is written, for a person. */
export function formOf(kind: FaultKind): string {
  const { hosts, amount }: Takes = FAULTS[kind].takes
  const named = { any: '[:HOSTS]', some: ':HOSTS', two: ':HOSTS|HOSTS' }[hosts]
  return `${kind}@AT+FOR${named}${amount == null ? '' : `=${amount.unit}`}`
}
