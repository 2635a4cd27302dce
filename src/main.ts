/** The program: argv, environment and signals in, exit code out. `arctic agent` runs the agent, all else is the CLI. */
const [command, ...rest] = process.argv.slice(2)

if (command === 'agent' && !rest.includes('--help') && !rest.includes('-h')) {
  const { runAgent } = await import('./agent-main.ts')
  // Everything is stopped by now; whatever a library may still hold must not keep a stopped agent alive.
  process.exit(await runAgent(rest, process.env))
} else {
  const { runCli } = await import('./api/cli/index.ts')
  process.exitCode = await runCli(process.argv.slice(2), process.env, process)
}
