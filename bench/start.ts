/**
 * How long `arctic --help` takes beside bare Node: `node bench/start.ts [ROUNDS]`. Interleaved, medians, one ratio.
 * The first start is not counted: it fills the compile cache, as an operator's first one does.
 */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const arctic = fileURLToPath(new URL('../bin/arctic', import.meta.url))
const rounds = Number(process.argv[2] ?? 21)

const commands = {
  'node -e 0': [process.execPath, '-e', '0'],
  'bin/arctic --help': [arctic, '--help']
}
const times = new Map<string, number[]>(Object.keys(commands).map((name) => [name, []]))
for (let round = -1; round < rounds; round++) {
  for (const [name, [program, ...args]] of Object.entries(commands)) {
    const begun = performance.now()
    const { status } = spawnSync(program!, args, { stdio: 'ignore' })
    if (status !== 0) throw new Error(`${name} ended with ${status}`)
    if (round >= 0) times.get(name)!.push(performance.now() - begun)
  }
}
const median = (list: number[]): number => list.toSorted((a, b) => a - b)[Math.floor(list.length / 2)]!
const bare = median(times.get('node -e 0')!)
console.log(`Node ${process.version}, ${rounds} rounds, medians`)
for (const [name, list] of times) {
  console.log(`${name.padEnd(20)} ${median(list).toFixed(1).padStart(7)} ms  ${(median(list) / bare).toFixed(2)} ×`)
}
