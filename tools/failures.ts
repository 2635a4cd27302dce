/**
 * What of a runner's output tells why it failed, to stand once more at the end of a long run, where whoever sees only the end of it
 * looks. A text without marks of that runner gives its last lines.
 */
export type Failures = (output: string) => string[]

/** Of one check: a suite that is broken as a whole must not push the others out of sight. */
const linesMax = 80

/** Mocha lists what failed, with reasons, behind its counts, once for each run in the output. */
export const mochaFailures: Failures = (output) => marked(output, /^\s*\d+ failing$/, /^── /)

/** Cargo has a block for each test program: what its failing tests printed, then their names. */
export const cargoFailures: Failures = (output) => marked(output, /^failures:$/, /^test result: /)

export const lastLines: Failures = (output) => lines(output).slice(-linesMax)

function marked(output: string, from: RegExp, until: RegExp): string[] {
  const found: string[] = []
  let inside = false
  for (const line of lines(output)) {
    if (inside && until.test(line)) inside = false
    else if (from.test(line)) inside = true
    if (inside) found.push(line)
  }
  if (found.length === 0) return lastLines(output)
  return found.length > linesMax ? [...found.slice(0, linesMax), `… ${found.length - linesMax} lines more`] : found
}

const lines = (output: string): string[] => output.trimEnd().split('\n')
