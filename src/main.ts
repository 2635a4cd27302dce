/** The program: argv, environment and signals in, exit code out. `arctic agent` runs the agent, all else is the CLI. */
import { enableCompileCache } from 'node:module'
import { fileURLToPath } from 'node:url'

const [command, ...rest] = process.argv.slice(2)
// Only inside our own tree: a cache in a shared temporary directory would let others put code into a root process.
enableCompileCache(fileURLToPath(new URL('../node_modules/.cache/arctic', import.meta.url)))

if (command === 'agent' && !rest.includes('--help') && !rest.includes('-h')) {
  const { runAgent } = await import('./agent-main.ts')
  process.exitCode = await runAgent(rest, process.env)
} else {
  const { runCli } = await import('./api/cli/index.ts')
  process.exitCode = await runCli(process.argv.slice(2), process.env, process)
}
