import type { LicenseJson } from '../../../actors/operator/license.ts'
import { orDash } from '../humane.ts'
import { type Cell, record } from '../table.ts'

export function licenseText(license: LicenseJson, colours: boolean): string {
  const { edition, holder, limits, usage, expires_at, file, problem } = license
  const rows: Array<[string, Cell]> = [
    ['edition', edition],
    ['holder', orDash(holder)],
    ['services', `${usage.services} of ${limits.services ?? 'any number'}`],
    ['peers', String(usage.peers)],
    ['expires', expires_at ?? 'never'],
    ['file', orDash(file)]
  ]
  if (problem != null) rows.push(['problem', { text: problem, colour: 'red' }])
  return record(rows, colours)
}
