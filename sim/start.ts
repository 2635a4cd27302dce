/**
 * What `bin/arctic` starts for `arctic sim` from the bundle, in place of `src/main.ts`: begun as an agent is (`src/agent-start.ts`), with
 * what V8 compiled of the simulator before. That is kept at the end of a run, when all that a run takes has been called.
 */
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { KeptProgram } from '../src/kept-program.ts'
import type { runSim as RunSim } from './main.ts'

const program = new KeptProgram('sim', dirname(fileURLToPath(import.meta.url)))
const { runSim } = program.load('sim-main.cjs') as { runSim: typeof RunSim }
const argv = process.argv.slice(2)
void runSim(argv).then((code) => {
  process.exitCode = code
  // 1: it ran, and something is violated.
  program.keep(argv[1] === 'run' && code <= 1)
})
