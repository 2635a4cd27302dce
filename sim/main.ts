/** `arctic sim`: the simulator as a command. It needs no agent, no network, no root and no disk. */
import { readFile } from 'node:fs/promises'
import { stringify } from 'yaml'
import type { Client } from '../src/api/cli/client.ts'
import type { FlagValue } from '../src/api/cli/command.ts'
import { explainFailure, usageFailure } from '../src/api/cli/failure.ts'
import { parse } from '../src/api/cli/parse.ts'
import { CHECKERS } from './checkers/index.ts'
import { formOf, parseFaults } from './fault-list.ts'
import { FAULTS, formatFaults, type Fault, type FaultKind } from './faults.ts'
import { fuzz, type FuzzResult } from './fuzz.ts'
import { libp2pPeersMax, peersMax, virtualMsMax } from './limits.ts'
import { runRehearsal } from './rehearse/command.ts'
import { rehearsalText } from './rehearse/report.ts'
import { fuzzText, listText, runText } from './report.ts'
import { replayLine } from './replay.ts'
import { simulate } from './run.ts'
import { SCENARIOS, scenarioNamed } from './scenarios/index.ts'
import type { Scenario } from './scenarios/scenario.ts'
import { mermaid } from './timeline.ts'
import { timelinePage } from './timeline-page.ts'
import { writeTo } from './write-to.ts'

const findingsMax = 3
const seedDefault = '1'

interface Ask {
  format: 'table' | 'json' | 'yaml' | 'jsonl'
  globals: Readonly<Record<string, FlagValue>>
  flags: Readonly<Record<string, FlagValue>>
  /** What follows the verb. */
  word: string | undefined
}

/**
 * `argv` without the program, read as the client reads its own: what help shows is what is taken. Answers the exit code: 1
 * for a violation, 2 for wrong usage.
 */
export async function runSim(argv: readonly string[]): Promise<number> {
  const { globals, ask: asked } = parse(argv)
  try {
    if (asked.kind === 'wrong') throw asked.failure
    const [noun, verb] = asked.kind === 'run' ? asked.command.words : []
    if (asked.kind !== 'run' || noun !== 'sim') throw usageFailure('this is not asked of the simulator', 'sim')
    const { args, flags } = asked.input
    const ask: Ask = { format: formatOf(globals, `sim ${verb}`), globals, flags, word: args['SCENARIO'] }
    switch (verb) {
      case 'list':
        return list(ask)
      case 'run':
        return await run(ask)
      case 'fuzz':
        return await explore(ask)
      default:
        return await rehearseChange(ask)
    }
  } catch (error) {
    const json = globals['json'] === true || globals['output'] === 'json' || globals['output'] === 'jsonl'
    const { text, exitCode } = explainFailure(error, { json })
    process.stderr.write(text)
    return exitCode
  }
}

function formatOf({ json, output }: Ask['globals'], help: string): Ask['format'] {
  if (json === true) {
    if (output != null && output !== 'json')
      throw usageFailure(`-j and -o ${String(output)} contradict each other`, help)
    return 'json'
  }
  if (output === 'name') throw usageFailure(`what "${help}" prints has no names; choose another -o`, help)
  return output === 'json' || output === 'yaml' || output === 'jsonl' ? output : 'table'
}

const textOf = (flags: Ask['flags'], name: string): string | undefined => flags[name] as string | undefined

function list({ format }: Ask): number {
  const scenarios = SCENARIOS.map(({ name, about, peers, durationMs }) => ({
    name,
    about,
    peers,
    virtual_seconds: durationMs / 1_000
  }))
  const faults = Object.entries(FAULTS).map(([kind, { about }]) => ({ form: formOf(kind as FaultKind), about }))
  print(format, scenarios, () => listText(scenarios, CHECKERS, faults))
  return 0
}

async function run({ format, flags, word }: Ask): Promise<number> {
  const scenario = scenarioOf(word, 'sim run')
  const network = textOf(flags, 'network') ?? 'light'
  if (network !== 'light' && network !== 'libp2p')
    throw usageFailure(`there is no network "${network}"; light or libp2p`, 'sim run')
  const agents = textOf(flags, 'agents')
  if (agents != null && agents !== 'whole' && agents !== 'light')
    throw usageFailure(`there are no agents "${agents}"; whole or light`, 'sim run')
  const most = network === 'light' ? peersMax : libp2pPeersMax
  const peers = Number(flags['peers'] ?? Math.min(most, scenario.peers))
  if (!(peers >= 2 && peers <= most)) throw usageFailure(`--peers takes a whole number from 2 to ${most}`, 'sim run')
  const seed = textOf(flags, 'seed') ?? seedDefault
  const list = textOf(flags, 'faults')
  const faults = list == null ? undefined : faultsOf(list, peers)
  const timeline = textOf(flags, 'timeline')
  // Before the run: what it took to come to a result must not be lost to a mistyped path.
  if (timeline != null) await writeTo(timeline, '', 'sim run')
  const tell = (phase: string, ms: number): void => {
    if (format === 'table') process.stderr.write(`${(ms / 1_000).toFixed(1).padStart(8)} s  ${phase}\n`)
  }
  const result = await simulate({
    scenario,
    peers,
    seed,
    network,
    ...(agents == null ? {} : { agents }),
    ...(faults == null ? {} : { faults }),
    onProgress: tell
  })
  const replay = replayLine(scenario, { peers, seed, network, agents: result.agents }, faults)
  const summary = runText(result, replay)
  if (timeline != null) {
    const page = /\.html?$/.test(timeline)
    await writeTo(timeline, page ? timelinePage(result, summary) : mermaid(result), 'sim run')
  }
  const { timeline: _, ...answer } = result
  print(format, { ...answer, replay }, () => summary)
  return result.violations.length === 0 ? 0 : 1
}

async function explore({ format, flags }: Ask): Promise<number> {
  const minutes = Number(flags['minutes'])
  if (!(minutes > 0)) throw usageFailure('--minutes takes how long to explore, above 0', 'sim fuzz')
  const end = performance.now() + minutes * 60_000
  const seed = textOf(flags, 'seed') ?? (await freshSeed())
  const named = textOf(flags, 'scenario')
  const scenarios = named == null ? SCENARIOS : [scenarioOf(named, 'sim fuzz')]
  const result: FuzzResult = await fuzz({
    scenarios,
    seed,
    findingsMax,
    goesOn: () => performance.now() < end,
    onRun: ({ scenario, peers, seed: one, violations }) => {
      if (format === 'table' && violations.length > 0) {
        process.stderr.write(`${scenario}, ${peers} peers, seed ${one}: ${violations[0]?.message}; making it smaller\n`)
      }
    }
  })
  print(format, result, () => fuzzText(result))
  return result.findings.length === 0 ? 0 : 1
}

/** Exit 1 when a flow would drop, so that a pipeline stops before the change is made. */
async function rehearseChange({ format, globals, flags }: Ask): Promise<number> {
  const client = async (): Promise<Client> => {
    const [{ Client }, { chooseTarget }, { systemClock }] = await Promise.all([
      import('../src/api/cli/client.ts'),
      import('../src/api/cli/target.ts'),
      import('../src/clock.ts')
    ])
    const signal = new AbortController().signal
    return new Client(await chooseTarget(globals, process.env), { clock: systemClock, signal })
  }
  const { rehearsal, skipped } = await runRehearsal(
    {
      file: textOf(flags, 'file'),
      from: textOf(flags, 'from'),
      flowLog: textOf(flags, 'flow-log'),
      listen: flags['listen'] as number | undefined,
      save: textOf(flags, 'save'),
      prune: flags['prune'] === true
    },
    client
  )
  print(format, { ...rehearsal, skipped }, () => rehearsalText(rehearsal, skipped))
  return rehearsal.dropped.length === 0 && rehearsal.violations.length === 0 ? 0 : 1
}

function scenarioOf(name: string | undefined, help: string): Scenario {
  const scenario = scenarioNamed(name ?? '')
  if (scenario == null) throw usageFailure(`there is no scenario "${name}"; "arctic sim list" shows them`, help)
  return scenario
}

function faultsOf(text: string, peers: number): Fault[] {
  let faults: Fault[]
  try {
    faults = parseFaults(text)
  } catch (error) {
    throw usageFailure((error as Error).message, 'sim run')
  }
  const late = faults.find(({ at, forMs }) => at + forMs > virtualMsMax)
  if (late != null)
    throw usageFailure(`"${formatFaults([late])}" ends after the longest run, which is ${virtualMsMax} ms`, 'sim run')
  // A list from a run of more peers may be tried with fewer; nobody shall believe that all of it was played.
  const absent = new Set(faults.flatMap(({ groups }) => groups.flat()).filter((host) => host >= peers))
  if (absent.size > 0)
    process.stderr.write(
      `hosts ${[...absent].join(', ')} of the faults are not among ${peers} peers, 0 to ${peers - 1}\n`
    )
  return faults
}

/** Another one each time; it is in the answer. The kernel's own generator, since virtual randomness begins with it. */
async function freshSeed(): Promise<string> {
  return (await readFile('/proc/sys/kernel/random/uuid', 'utf8')).slice(0, 8)
}

function print(format: Ask['format'], value: object, text: () => string): void {
  if (format === 'table') process.stdout.write(text())
  else if (format === 'yaml') process.stdout.write(stringify(value))
  else if (format === 'json') process.stdout.write(`${JSON.stringify(value, null, 2)}\n`)
  else for (const row of [value].flat()) process.stdout.write(`${JSON.stringify(row)}\n`)
}
