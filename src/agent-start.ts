/**
 * What `bin/arctic` starts for `arctic agent` from the bundle, in place of `main.ts`:
 *
 * 1. each file of the program is handed to V8 with what was compiled of it before (`kept-program.ts`);
 * 2. `runAgent` is called;
 * 3. once the start is over, what is compiled by then is kept for the next one, unless that is there already.
 */
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { runAgent as RunAgent } from './agent-main.ts'
import { KeptProgram } from './kept-program.ts'

const program = new KeptProgram('agent', dirname(fileURLToPath(import.meta.url)))
const { runAgent } = program.load('agent-main.cjs') as { runAgent: typeof RunAgent }
const settled = (isWhole: boolean): void => program.keep(isWhole)
void runAgent(process.argv.slice(3), process.env, { settled }).then((code) => process.exit(code))
