/**
 * Makes `dist/`, from which `bin/arctic` starts as long as no source is newer: the product and what it takes from
 * node_modules in a few files, so that a start reads ten of them instead of a thousand and strips no types.
 *
 * All of it as ES modules, from `main.js`; and what an agent is of, and the simulator, once more as CommonJS, from `agent-start.cjs` and
 * `sim-start.cjs`: only of scripts can be kept what V8 has compiled of them since they were loaded (`src/kept-program.ts`).
 *
 * A running agent reads a chunk when it first needs it. So chunks are named by their content, and those of the build
 * before stay; `main.js` comes last and whole, and is as old as the sources it was made of.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, renameSync, rmSync, statSync, unlinkSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const [dist, fresh] = [join(root, 'dist'), join(root, 'dist', 'new')]
const MAIN = 'main.js'
const ENTRIES = new Set(['document-worker.js', 'agent-start.cjs', 'agent-main.cjs', 'sim-start.cjs', 'sim-main.cjs'])

const begun = new Date()
rmSync(fresh, { recursive: true, force: true })
mkdirSync(fresh, { recursive: true })
make(['src/main.ts', 'src/crdt/document-worker.ts'], {
  format: 'esm',
  entryFileNames: '[name].js',
  'transform.define': '__dirname:import.meta.dirname'
})
make(['src/agent-start.ts', 'src/agent-main.ts'], {
  format: 'cjs',
  entryFileNames: '[name].cjs',
  chunkFileNames: '[name]-[hash].cjs'
})
// By itself: nothing of an agent is cut into other files for its sake.
make(['sim/start.ts', 'sim/main.ts'], {
  format: 'cjs',
  entryFileNames: 'sim-[name].cjs',
  chunkFileNames: '[name]-[hash].cjs'
})
utimesSync(join(fresh, MAIN), begun, begun)

const before = statSync(join(dist, MAIN), { throwIfNoEntry: false })?.mtimeMs ?? 0
// What begins a program comes after what it consists of.
const turn = (name: string): number => (name === MAIN ? 2 : Number(ENTRIES.has(name)))
const made = readdirSync(fresh).toSorted((a, b) => turn(a) - turn(b))
for (const name of made) renameSync(join(fresh, name), join(dist, name))
for (const name of readdirSync(dist)) {
  const path = join(dist, name)
  if (!made.includes(name) && statSync(path).isFile() && statSync(path).mtimeMs < before) unlinkSync(path)
}
rmSync(fresh, { recursive: true })

function make(entries: string[], how: Record<string, string>): void {
  const flags = {
    dir: fresh,
    platform: 'node',
    logLevel: 'warn',
    // Not made smaller: names and lines in a stack trace are worth two megabytes. `--enable-source-maps` has the rest of ES modules.
    sourcemap: true,
    // With one character beyond Latin-1 V8 keeps a file's text at two bytes for each, for as long as the program runs.
    charset: 'ascii',
    comments: false,
    // A library takes in at once what we take in when we need it.
    'checks.ineffectiveDynamicImport': false,
    ...how
  }
  const argv = Object.entries(flags).flatMap(([name, value]) =>
    typeof value === 'string' ? [`--${name}`, value] : [value ? `--${name}` : `--no-${name}`]
  )
  execFileSync(join(root, 'node_modules/.bin/rolldown'), [...entries.map((entry) => join(root, entry)), ...argv], {
    stdio: ['ignore', 'ignore', 'inherit']
  })
}
