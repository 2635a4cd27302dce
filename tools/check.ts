/**
 * The whole of `npm test`: every check CI has, one after the other, each with its own totals. Ends with one line
 * `N passed, N failed`, where a check without tests of its own (lint, types) counts as one.
 *
 *   node tools/check.ts [--only NAME[,NAME]] [--fix]
 */
import { spawn } from 'node:child_process'
import { parseArgs } from 'node:util'
import { type Failures, cargoFailures, lastLines, mochaFailures } from './failures.ts'

interface Check {
  name: string
  command: string[]
  cwd?: string
  env?: Record<string, string>
  /** Reads the totals out of the output; without it the exit code counts as one test. */
  totals?: (output: string) => Totals
  /** Why it failed, out of the output; without it, the last lines. */
  failures?: Failures
}
interface Totals {
  passed: number
  failed: number
}

const bin = (name: string): string => `node_modules/.bin/${name}`
const mocha = (pattern: string): string[] => [
  process.execPath,
  '-C',
  'development',
  '--disable-warning=ExperimentalWarning',
  'node_modules/mocha/bin/mocha.js',
  pattern
]

const mochaTotals = (output: string): Totals => ({
  passed: sumOf(output, /^\s*(\d+) passing/gm),
  failed: sumOf(output, /^\s*(\d+) failing/gm)
})
const cargoTotals = (output: string): Totals => ({
  passed: sumOf(output, /^test result: .*? (\d+) passed/gm),
  failed: sumOf(output, /^test result: .*? (\d+) failed/gm)
})

const byMocha = { totals: mochaTotals, failures: mochaFailures }
const byCargo = { totals: cargoTotals, failures: cargoFailures }

const CHECKS: Check[] = [
  { name: 'types', command: [bin('tsc')] },
  { name: 'lint', command: [bin('oxlint'), '--type-aware', '--deny-warnings'] },
  { name: 'format', command: [bin('oxfmt'), '--check'] },
  { name: 'dead-code', command: [bin('knip')] },
  { name: 'rustfmt', command: ['cargo', 'fmt', '--all', '--check'], cwd: 'engines' },
  {
    name: 'clippy',
    command: ['cargo', 'clippy', '--locked', '--quiet', '--all-targets', '--', '-D', 'warnings'],
    cwd: 'engines'
  },
  { name: 'engines', command: ['cargo', 'test', '--locked', '--no-fail-fast'], cwd: 'engines', ...byCargo },
  {
    name: 'unit',
    command: mocha('test/{crdt,mesh,dataplane,actors,api,lab,agent,bench,tools}/**/*.test.ts'),
    ...byMocha
  },
  {
    name: 'sim',
    // Each run is one process's work; the files go side by side.
    command: [...mocha('test/sim/**/*.test.ts'), '--parallel', '--jobs', '2'],
    ...byMocha
  },
  { name: 'e2e', command: mocha('test/e2e/**/*.test.ts'), ...byMocha }
]

const { values } = parseArgs({ options: { only: { type: 'string' } } })
const only = values.only?.split(',')
const checks = CHECKS.filter((check) => only == null || only.includes(check.name))
let passed = 0
let failed = 0
const notOk: Array<{ name: string; why: string[] }> = []
for (const check of checks) {
  const started = performance.now()
  process.stdout.write(
    `\n── ${check.name}: ${check.command.map((word) => word.replace(process.execPath, 'node')).join(' ')}\n`
  )
  const { code, output } = await run(check)
  const totals = check.totals?.(output) ?? { passed: code === 0 ? 1 : 0, failed: code === 0 ? 0 : 1 }
  // A runner that dies, or runs nothing, has failed even when its counts look clean.
  if (totals.failed === 0 && (code !== 0 || totals.passed === 0)) totals.failed = 1
  passed += totals.passed
  failed += totals.failed
  if (totals.failed > 0) notOk.push({ name: check.name, why: (check.failures ?? lastLines)(output) })
  const seconds = ((performance.now() - started) / 1000).toFixed(1)
  process.stdout.write(`── ${check.name}: ${totals.passed} ok, ${totals.failed} not ok, ${seconds} s\n`)
}
for (const { name, why } of notOk) process.stdout.write(`\n── not ok: ${name}\n${why.join('\n')}\n`)
process.stdout.write(`\n${passed} passed, ${failed} failed\n`)
process.exitCode = failed === 0 ? 0 : 1

function run(check: Check): Promise<{ code: number; output: string }> {
  return new Promise((resolve) => {
    const [program, ...args] = check.command
    const child = spawn(program!, args, {
      cwd: check.cwd,
      env: { ...process.env, NO_COLOR: '1', CARGO_TERM_COLOR: 'never', ...check.env },
      stdio: ['ignore', 'pipe', 'pipe']
    })
    let output = ''
    const take = (chunk: Buffer): void => {
      output += chunk.toString()
      process.stdout.write(chunk)
    }
    child.stdout.on('data', take)
    child.stderr.on('data', take)
    child.on('error', (error) => {
      process.stdout.write(`${error.message}\n`)
      resolve({ code: 127, output })
    })
    child.on('close', (code) => resolve({ code: code ?? 1, output }))
  })
}

function sumOf(output: string, pattern: RegExp): number {
  let sum = 0
  for (const match of output.matchAll(pattern)) sum += Number(match[1])
  return sum
}
