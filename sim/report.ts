import type { FuzzResult } from './fuzz.ts'
import type { RunResult } from './run.ts'

/** What a person reads. Figures are of this run on this machine. */
export function runText(result: RunResult, replay: string): string {
  const {
    scenario,
    peers,
    seed,
    violations,
    virtual_seconds: virtual,
    wall_seconds: wall,
    settled_ms: settled
  } = result
  const lines = [
    `${scenario}, ${peers} peers, seed ${seed}: ${violations.length === 0 ? 'nothing is violated' : `${violations.length} violated`}`,
    `  ${virtual.toFixed(1)} s of virtual time in ${wall.toFixed(1)} s, ${(virtual / wall).toFixed(1)} times as fast; at most ${result.memory_megabytes} MB`,
    `  ${result.changes} changes made, ${result.refused} refused; ${result.deliveries} messages delivered, ${result.applies} times applied`,
    `  ${settled == null ? 'not all agreed in time' : `all agreed ${(settled / 1_000).toFixed(2)} s after the last fault`}`,
    `  faults: ${result.faults === '' ? 'none' : result.faults.split(';').join(' ')}`,
    `  trace ${result.trace_hash}`
  ]
  for (const { checker, message, at } of violations)
    lines.push(`  ${checker} at ${(at / 1_000).toFixed(1)} s: ${message}`)
  if (violations.length > 0) lines.push(`replay: ${replay}`)
  return `${lines.join('\n')}\n`
}

export function fuzzText({ seed, runs, virtual_seconds: virtual, deliveries, findings }: FuzzResult): string {
  const lines = [
    `${runs} runs from seed ${seed}, ${virtual.toFixed(0)} s of virtual time, ${deliveries} messages: ` +
      (findings.length === 0 ? 'nothing is violated' : `${findings.length} found`)
  ]
  for (const { violations, replay, regression } of findings) {
    for (const { checker, message } of violations.slice(0, 3)) lines.push(`  ${checker}: ${message}`)
    lines.push(`replay: ${replay}`, `to sim/regressions.ts once it is mended: ${regression}`)
  }
  return `${lines.join('\n')}\n`
}

export function listText(
  scenarios: ReadonlyArray<{ name: string; about: string; peers: number; virtual_seconds: number }>,
  checkers: ReadonlyArray<{ name: string; about: string }>,
  faults: ReadonlyArray<{ form: string; about: string }>
): string {
  const lines = ['Scenarios (arctic sim run NAME):']
  for (const { name, about, peers } of scenarios)
    lines.push(`  ${name.padEnd(18)}${about}; ${peers} peers unless told otherwise`)
  lines.push('', 'What every run is held to:')
  for (const { name, about } of checkers) lines.push(`  ${name.padEnd(18)}${about}`)
  lines.push(
    '',
    'Faults, as in --faults "kill@2000+500:1,2;loss@0+9000=20" (AT and FOR in ms; HOSTS are numbers from 0):'
  )
  for (const { form, about } of faults) lines.push(`  ${form.padEnd(36)}${about}`)
  return `${lines.join('\n')}\n`
}
