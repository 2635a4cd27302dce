/** `arctic sim`: the simulator as a command. It needs no agent, no network, no root and no disk. */
import { readFile, writeFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { stringify } from 'yaml'
import type { Client } from '../src/api/cli/client.ts'
import { explainFailure, usageFailure } from '../src/api/cli/failure.ts'
import { CHECKERS } from './checkers/index.ts'
import { FAULTS, parseFaults, type Fault } from './faults.ts'
import { fuzz, type FuzzResult } from './fuzz.ts'
import { libp2pPeersMax, peersMax } from './limits.ts'
import { runRehearsal } from './rehearse/command.ts'
import { rehearsalText } from './rehearse/report.ts'
import { fuzzText, listText, runText } from './report.ts'
import { replayLine } from './replay.ts'
import { simulate } from './run.ts'
import { SCENARIOS, scenarioNamed } from './scenarios/index.ts'
import type { Scenario } from './scenarios/scenario.ts'
import { mermaid } from './timeline.ts'
import { timelinePage } from './timeline-page.ts'

const FLAGS = {
  json: { type: 'boolean', short: 'j' },
  output: { type: 'string', short: 'o' },
  peers: { type: 'string' },
  seed: { type: 'string' },
  faults: { type: 'string' },
  timeline: { type: 'string' },
  network: { type: 'string' },
  agents: { type: 'string' },
  minutes: { type: 'string' },
  scenario: { type: 'string' },
  file: { type: 'string', short: 'f' },
  from: { type: 'string' },
  'flow-log': { type: 'string' },
  listen: { type: 'string' },
  save: { type: 'string' },
  prune: { type: 'boolean' },
  socket: { type: 'string' },
  api: { type: 'string' },
  token: { type: 'string' },
  fingerprint: { type: 'string' },
  'api-plain': { type: 'boolean' },
  context: { type: 'string' }
} as const

const findingsMax = 3
const seedDefault = '1'

type Switch = 'json' | 'prune' | 'api-plain'
type Values = Partial<Record<Exclude<keyof typeof FLAGS, Switch>, string>> & Partial<Record<Switch, boolean>>

interface Ask {
  format: 'table' | 'json' | 'yaml'
  values: Values
  words: string[]
}

/** `argv` without the program; `sim` is its first word. Answers the exit code: 1 for a violation, 2 for wrong usage. */
export async function runSim(argv: readonly string[]): Promise<number> {
  const json = argv.includes('-j') || argv.includes('--json')
  try {
    const ask = read(argv)
    switch (ask.words[1]) {
      case 'list':
        return list(ask)
      case 'run':
        return await run(ask)
      case 'fuzz':
        return await explore(ask)
      case 'rehearse':
        return await rehearseChange(ask)
      default:
        throw usageFailure(
          `sim ${ask.words[1] ?? ''}`.trim() + ' is no command; use sim run, sim list, sim fuzz or sim rehearse',
          'sim'
        )
    }
  } catch (error) {
    const { text, exitCode } = explainFailure(error, { json })
    process.stderr.write(text)
    return exitCode
  }
}

function read(argv: readonly string[]): Ask {
  let parsed
  try {
    parsed = parseArgs({ args: [...argv], options: FLAGS, allowPositionals: true })
  } catch (error) {
    throw usageFailure((error as Error).message.split('.')[0] ?? 'the flags are not understood', 'sim')
  }
  const { values, positionals } = parsed
  const output = values.output ?? (values.json === true ? 'json' : 'table')
  if (output !== 'table' && output !== 'json' && output !== 'yaml')
    throw usageFailure(`there is no output "${output}"`, 'sim')
  return { format: values.json === true ? 'json' : output, values: { ...values }, words: positionals }
}

function list({ format }: Ask): number {
  const scenarios = SCENARIOS.map(({ name, about, peers, durationMs }) => ({
    name,
    about,
    peers,
    virtual_seconds: durationMs / 1_000
  }))
  const faults = Object.entries(FAULTS).map(([kind, { about }]) => ({ kind, about }))
  print(format, scenarios, () => listText(scenarios, CHECKERS, faults))
  return 0
}

async function run({ format, values, words }: Ask): Promise<number> {
  const scenario = scenarioOf(words[2], 'sim run')
  if (words.length > 3) throw usageFailure(`"${words[3]}" is one word too many`, 'sim run')
  const { network = 'light' } = values
  if (network !== 'light' && network !== 'libp2p')
    throw usageFailure(`there is no network "${network}"; light or libp2p`, 'sim run')
  const { agents } = values
  if (agents != null && agents !== 'whole' && agents !== 'light')
    throw usageFailure(`there are no agents "${agents}"; whole or light`, 'sim run')
  const most = network === 'light' ? peersMax : libp2pPeersMax
  const peers = wholeNumber('--peers', values.peers, Math.min(most, scenario.peers), 2, most)
  const seed = values.seed ?? seedDefault
  const faults = values.faults == null ? undefined : faultsOf(values.faults)
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
  if (values.timeline != null) {
    const page = /\.html?$/.test(values.timeline)
    await writeFile(values.timeline, page ? timelinePage(result, summary) : mermaid(result))
  }
  const { timeline: _, ...answer } = result
  print(format, { ...answer, replay }, () => summary)
  return result.violations.length === 0 ? 0 : 1
}

async function explore({ format, values }: Ask): Promise<number> {
  const minutes = Number(values.minutes ?? Number.NaN)
  if (!(minutes > 0)) throw usageFailure('--minutes takes how long to explore, above 0', 'sim fuzz')
  const end = performance.now() + minutes * 60_000
  const seed = values.seed ?? (await freshSeed())
  const scenarios = values.scenario == null ? SCENARIOS : [scenarioOf(values.scenario, 'sim fuzz')]
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
async function rehearseChange({ format, values }: Ask): Promise<number> {
  const client = async (): Promise<Client> => {
    const [{ Client }, { chooseTarget }, { systemClock }] = await Promise.all([
      import('../src/api/cli/client.ts'),
      import('../src/api/cli/target.ts'),
      import('../src/clock.ts')
    ])
    const signal = new AbortController().signal
    return new Client(await chooseTarget(values, process.env), { clock: systemClock, signal })
  }
  const { rehearsal, skipped } = await runRehearsal(values, client)
  print(format, { ...rehearsal, skipped }, () => rehearsalText(rehearsal, skipped))
  return rehearsal.dropped.length === 0 && rehearsal.violations.length === 0 ? 0 : 1
}

function scenarioOf(name: string | undefined, help: string): Scenario {
  if (name == null) throw usageFailure('name a scenario; "arctic sim list" shows them', help)
  const scenario = scenarioNamed(name)
  if (scenario == null) throw usageFailure(`there is no scenario "${name}"; "arctic sim list" shows them`, help)
  return scenario
}

function faultsOf(text: string): Fault[] {
  try {
    return parseFaults(text)
  } catch (error) {
    throw usageFailure((error as Error).message, 'sim run')
  }
}

function wholeNumber(flag: string, text: string | undefined, standard: number, min: number, max: number): number {
  if (text == null) return standard
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN
  if (!(value >= min && value <= max))
    throw usageFailure(`${flag} takes a whole number from ${min} to ${max}`, 'sim run')
  return value
}

/** Another one each time; it is in the answer. The kernel's own generator, since virtual randomness begins with it. */
async function freshSeed(): Promise<string> {
  return (await readFile('/proc/sys/kernel/random/uuid', 'utf8')).slice(0, 8)
}

function print(format: Ask['format'], value: object, text: () => string): void {
  if (format === 'table') process.stdout.write(text())
  else process.stdout.write(format === 'json' ? `${JSON.stringify(value, null, 2)}\n` : stringify(value))
}
