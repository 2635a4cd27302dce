/**
 * What the control plane costs, side by side: `node bench/cluster.ts [--rounds 3] [--only PART[,PART]]`; about four
 * minutes on an idle machine. Writes its section of RESULTS.md when all of it was run. Parts: `propagation`; `agents`, or of
 * them `idle`, `programmed`, `restart`, `heal`.
 *
 * 1. A write, signed and fsynced, to visible at all five members, beside etcd and serf, in turn.
 * 2. Five real agents in the lab: idle, a change into kernel and engines, a start after `kill -9`, a partition that heals.
 */
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { available } from '../lab/command.ts'
import { ensurePrivilege } from '../lab/privileges.ts'
import { isoTime, systemClock } from '../src/clock.ts'
import { Agents } from './cluster/agents.ts'
import { Arctic } from './cluster/arctic.ts'
import { Etcd } from './cluster/etcd.ts'
import { propagation } from './cluster/propagation.ts'
import { Serf } from './cluster/serf.ts'
import type { System } from './cluster/system.ts'
import { cpuModel } from './cpu.ts'
import { roundsDefault } from './limits.ts'
import { inRounds, mediansOf, type Figures } from './rounds.ts'
import { replaceSection } from './section.ts'

interface Row {
  what: string
  ours: string
  beside: string
  asked: string
}

const { values } = parseArgs({ options: { rounds: { type: 'string' }, only: { type: 'string' } } })
const rounds = Number(values.rounds ?? roundsDefault)
const AGENT_PARTS = ['idle', 'programmed', 'restart', 'heal'] as const
const PARTS = ['propagation', ...AGENT_PARTS] as const
type Part = (typeof PARTS)[number]
const wanted = partsOf(values.only)
const progress = (text: string): void => void process.stderr.write(`${text}\n`)
const ms = (value = Number.NaN): string => `${value.toFixed(value < 100 ? 1 : 0)} ms`
const times = (ours = Number.NaN, theirs = Number.NaN): string => `${(ours / theirs).toFixed(2)} ×`

async function seenEverywhere(): Promise<Row[]> {
  for (const program of ['etcd', 'serf']) {
    if (!available(program)) throw new Error(`${program} is missing; apt-get install etcd-server serf`)
  }
  const systems: System[] = [new Arctic(), new Etcd(), new Serf()]
  const contenders = systems.map((system) => ({ name: system.name, pids: [], path: system }))
  const results = await inRounds(contenders, rounds, ({ path }) => propagation(path), progress)
  const of = (name: string): Figures => results.find((result) => result.name === name)?.median ?? {}
  const [arctic, etcd, serf] = [of('arctic'), of('etcd'), of('serf')]
  const lost = results.map(({ name, median }) => `${name} ${median['lost']}`).join(', ')
  return [
    {
      what: 'a write, fsynced and signed, to visible on all of 5 processes, p50',
      ours: ms(arctic['p50']),
      beside: `etcd ${ms(etcd['p50'])} (${times(arctic['p50'], etcd['p50'])}), serf ${ms(serf['p50'])} (${times(arctic['p50'], serf['p50'])})`,
      asked: '≤ 3.2 × etcd, ≤ 0.10 × serf'
    },
    {
      what: `the same, p99 (writes that did not arrive everywhere: ${lost})`,
      ours: ms(arctic['p99']),
      beside: `etcd ${ms(etcd['p99'])} (${times(arctic['p99'], etcd['p99'])}), serf ${ms(serf['p99'])}`,
      asked: '≤ 8 × etcd'
    }
  ]
}

/** All of them, none named. Throws for a name that is none of a part. */
function partsOf(only: string | undefined): ReadonlySet<Part> {
  if (only == null) return new Set(PARTS)
  return new Set(
    only.split(',').flatMap((name) => {
      if (name === 'agents') return AGENT_PARTS
      const part = PARTS.find((one) => one === name)
      if (part == null) throw new Error(`"${name}" is no part; there are: agents, ${PARTS.join(', ')}`)
      return part
    })
  )
}

async function realAgents(): Promise<Row[]> {
  progress('five agents: the first alone')
  const { agents, alone } = await Agents.start({ alone: wanted.has('idle') })
  try {
    const found: Record<(typeof AGENT_PARTS)[number], Figures[]> = { idle: [], programmed: [], restart: [], heal: [] }
    for (let round = 1; round <= rounds; round++) {
      progress(`round ${round} of ${rounds}: five agents`)
      for (const part of AGENT_PARTS) if (wanted.has(part)) found[part].push(await agents[part]())
      progress(JSON.stringify(Object.values(found).map((list) => list.at(-1))))
    }
    const five = mediansOf(found.idle)
    const programmed = mediansOf(found.programmed)
    const restart = mediansOf(found.restart)
    const rows: Array<Row & { part: Part }> = [
      { part: 'idle', ...idleRow('idle agent, alone', alone ?? {}, '≤ 3.6 × (aim 2.5), CPU ≤ 1 %') },
      { part: 'idle', ...idleRow('idle agent, one of five', five, '≤ 3.6 × (aim 2.5), CPU ≤ 2 %') },
      {
        part: 'programmed',
        what: 'a change to programmed in kernel and engines on both peers, p99',
        ours: ms(programmed['p99']),
        beside: `p50 ${ms(programmed['p50'])}`,
        asked: '< 100 ms'
      },
      {
        part: 'restart',
        what: '`kill -9`, start, caught up with what was written meanwhile',
        ours: ms(restart['ms']),
        beside: `\`node -e 0\` ${ms(restart['bare'])} (${times(restart['ms'], restart['bare'])})`,
        asked: '≤ 20 × (aim 10)'
      },
      {
        part: 'heal',
        what: 'heal after a 2/3 partition with 100 writes on each side',
        ours: ms(mediansOf(found.heal)['ms']),
        beside: '',
        asked: '≤ 1 s'
      }
    ]
    return rows.filter(({ part }) => wanted.has(part))
  } finally {
    agents.stop()
  }
}

const idleRow = (what: string, figures: Figures, asked: string): Row => ({
  what: `${what}: resident memory, CPU`,
  ours: `${figures['megabytes']?.toFixed(0)} MB, ${figures['cpuPercent']?.toFixed(1)} %`,
  beside: `bare Node ${figures['bare']?.toFixed(0)} MB (${times(figures['megabytes'], figures['bare'])})`,
  asked
})

async function main(): Promise<void> {
  ensurePrivilege()
  const rows = [
    ...(wanted.has('propagation') ? await seenEverywhere() : []),
    ...(AGENT_PARTS.some((part) => wanted.has(part)) ? await realAgents() : [])
  ]
  const line = ({ what, ours, beside, asked }: Row): string => `| ${what} | ${ours} | ${beside} | ${asked} |`
  const text = `## Control plane

Made by \`node bench/cluster.ts\` on ${isoTime(systemClock.now()).slice(0, 10)}: medians of ${rounds} rounds in turn, on ${cpuModel()}, Node
${process.version}. etcd and serf are the distribution's; five members each on loopback, writers take turns, a watch at each member.

| what | arctic | beside | asked for |
| --- | ---: | ---: | --- |
${rows.map(line).join('\n')}
`
  process.stdout.write(text)
  if (values.only == null) {
    replaceSection(fileURLToPath(new URL('RESULTS.md', import.meta.url)), 'control-plane', text)
  }
}

await main()
