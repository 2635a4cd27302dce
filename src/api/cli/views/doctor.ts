import type { CheckJson, DoctorJson } from '../../../actors/operator/doctor.ts'
import { type Cell, type Colour, table } from '../table.ts'

/** A line per check, and under it, where something is wrong, how to mend it. */
export function doctorText({ checks }: DoctorJson, colours: boolean): string {
  const rows = checks.flatMap(({ name, status, found, mend }): Cell[][] => [
    [{ text: status, colour: COLOURS[status] }, name, found],
    ...(mend == null ? [] : [['', '', `→ ${mend}`]])
  ])
  const count = (status: CheckJson['status']): number => checks.filter((check) => check.status === status).length
  return `${table(['', 'CHECK', 'FOUND'], rows, colours)}\n${count('ok')} ok, ${count('warn')} to know, ${count('fail')} to mend\n`
}

const COLOURS: Record<CheckJson['status'], Colour> = { ok: 'green', warn: 'yellow', fail: 'red' }
