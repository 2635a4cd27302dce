/** The program: argv, environment and signals in, exit code out. `arctic agent` runs the agent, all else is the CLI. */
const [command, ...rest] = process.argv.slice(2)
// `sim` may follow the flags that say how to print and whom to ask; help on it is the CLI's.
const simulates = /^(-j |--json |--api-plain |(-o|--(output|socket|api|token|fingerprint|context))[ =]\S+ )*sim /.test(
  `${process.argv.slice(2).join(' ')} `
)

if (command === 'agent' && !rest.includes('--help') && !rest.includes('-h')) {
  const { runAgent } = await import('./agent-main.ts')
  // Everything is stopped by now; whatever a library may still hold must not keep a stopped agent alive.
  process.exit(await runAgent(rest, process.env))
} else if (simulates && !rest.includes('--help') && !rest.includes('-h')) {
  // Composition, not dependency: this program starts the simulator, nothing of the product knows it.
  const { runSim } = await import('../sim/main.ts')
  process.exitCode = await runSim(process.argv.slice(2))
} else {
  const { runCli } = await import('./api/cli/index.ts')
  process.exitCode = await runCli(process.argv.slice(2), process.env, process, {
    examineHost: async () => (await import('./host-doctor.ts')).examineThisHost(process.env)
  })
  // What was begun at the prompt of a repl, or is still being typed into a pipe, must not keep a command that has ended. What it
  // printed goes out first.
  process.stdout.write('', () => process.stderr.write('', () => process.exit()))
}
