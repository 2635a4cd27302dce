import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'mocha'
import { Fold } from '../../src/crdt/fold.ts'
import { CHECKERS } from '../../sim/checkers/index.ts'
import { FAULTS } from '../../sim/faults.ts'
import { SCENARIOS } from '../../sim/scenarios/index.ts'
import { arctic } from './support/command.ts'

type Outcome = Awaited<ReturnType<typeof arctic>>

const run = (line: string): Promise<Outcome> =>
  arctic([...line.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? ''))

const answerOf = ({ out }: Outcome): Record<string, unknown> => JSON.parse(out) as Record<string, unknown>

describe('sim: the command', function () {
  this.timeout(240_000)
  this.slow(30_000)

  it('answers a clean run with its figures, and exit 0', async () => {
    const ran = await run('sim run calm --peers 3 --seed s -j')
    assert.equal(ran.code, 0)
    const { trace_hash, virtual_seconds, wall_seconds, violations, ...rest } = answerOf(ran)
    assert.match(String(trace_hash), /^[0-9a-f]{64}$/)
    assert.ok(Number(virtual_seconds) > 20 && Number(wall_seconds) > 0)
    assert.deepEqual(violations, [])
    assert.equal(rest.replay, 'arctic sim run calm --peers 3 --seed s')
    assert.deepEqual([rest.scenario, rest.seed, rest.peers], ['calm', 's', 3])
    assert.deepEqual(Object.keys(rest).sort(), [
      'agents',
      'applies',
      'bytes',
      'changes',
      'deliveries',
      'events',
      'faults',
      'memory_megabytes',
      'peers',
      'refused',
      'replay',
      'scenario',
      'seed',
      'settled_ms',
      'work_began_ms'
    ])
  })

  it('ends with exit 1 on a violation, and with the line that does it again', async () => {
    const { isSound } = Fold.prototype
    Fold.prototype.isSound = () => true
    try {
      const line = "sim run calm --peers 3 --seed 5 --faults 'traitor@1000+3000:2'"
      const ran = await run(line)
      assert.equal(ran.code, 1)
      assert.match(ran.out, /authority at \d+\.\d s: host-\d shows \S+, which somebody made without the right/)
      const [, replay = ''] = /^replay: arctic (.*)$/m.exec(ran.out) ?? []
      assert.equal(replay, line)
      const again = await run(`${replay} -j`)
      assert.equal(again.code, 1)
      assert.match(ran.out, new RegExp(String(answerOf(again).trace_hash)))
    } finally {
      Fold.prototype.isSound = isSound
    }
  })

  it('lists every scenario, checker and fault', async () => {
    const { out, code } = await run('sim list')
    assert.equal(code, 0)
    for (const { name } of [...SCENARIOS, ...CHECKERS]) assert.match(out, new RegExp(`^  ${name} `, 'm'))
    for (const kind of Object.keys(FAULTS)) assert.match(out, new RegExp(`^  ${kind}@AT`, 'm'))
    const listed = JSON.parse((await run('sim list -j')).out) as Array<{ name: string }>
    assert.deepEqual(
      listed.map(({ name }) => name),
      SCENARIOS.map(({ name }) => name)
    )
  })

  it('writes a timeline of faults and events', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'arctic-sim-'))
    try {
      const file = join(dir, 'run.mmd')
      const faults = "--faults 'kill@1000+500:1'"
      assert.equal((await run(`sim run calm --peers 2 --seed 2 ${faults} --timeline ${file}`)).code, 0)
      const mermaid = await readFile(file, 'utf8')
      assert.match(mermaid, /^gantt\n/)
      assert.match(mermaid, /section faults\n  kill 1 :crit, \d+, \d+\n/)
      assert.match(mermaid, /section host-1\n[\s\S]*killed :milestone/)

      const page = join(dir, 'run.html')
      assert.equal((await run(`sim run calm --peers 2 --seed '<b>' ${faults} --timeline ${page}`)).code, 0)
      const html = await readFile(page, 'utf8')
      assert.match(html, /<title>kill, 500 ms<\/title>/)
      assert.match(html, /<title>\d+\.\d\d s: killed<\/title>/)
      assert.match(html, /nothing is violated/)
      assert.ok(html.includes('&lt;b&gt;') && !html.includes('<b>'))
    } finally {
      await rm(dir, { recursive: true })
    }
  })

  it('plays a seed that begins with a dash, and the line that does it again says it so that it is read', async () => {
    for (const [said, seed] of [
      ['--seed -5', '-5'],
      ['--seed=-x', '-x']
    ] as const) {
      const ran = await run(`sim run calm --peers 2 ${said} -j`)
      assert.deepEqual([ran.code, ran.err, answerOf(ran)['seed']], [0, '', seed])
      const { replay, trace_hash } = answerOf(ran)
      assert.equal(replay, `arctic sim run calm --peers 2 --seed=${seed}`)
      const again = await run(`${String(replay).replace('arctic ', '')} -j`)
      assert.equal(answerOf(again)['trace_hash'], trace_hash)
    }
  })

  it('says which hosts of a fault list there are not', async () => {
    const { code, err } = await run("sim run calm --peers 2 --faults 'kill@1+2:1;split@5+5:0,7'")
    assert.equal(code, 0)
    assert.match(err, /^hosts 7 of the faults are not among 2 peers, 0 to 1$/m)
  })

  it('refuses what it does not understand with exit 2', async () => {
    const cases: Array<[line: string, message: RegExp]> = [
      ['sim', /"sim" needs one of run, list, fuzz, rehearse/],
      ['sim rain', /unknown command "sim rain"/],
      ['sim run', /SCENARIO is missing/],
      ['sim run rain', /there is no scenario "rain"/],
      ['sim run calm --peers 1', /--peers takes a whole number from 2/],
      ['sim run calm --peers -3', /--peers takes a whole number from 2/],
      ['sim run calm --peers 1000000000', /--peers takes a whole number from 2 to 1000/],
      ['sim run calm --peers many', /--peers "many" is not a whole number/],
      ["sim run calm --faults 'rain@1+1'", /is no fault/],
      ["sim run calm --faults 'kill@1+1800000:0'", /ends after the longest run/],
      ['sim run calm again', /unexpected argument "again"/],
      ['sim run calm --speed 9', /unknown flag "--speed"/],
      ['sim run calm --minutes 1', /unknown flag "--minutes"/],
      ['sim run calm --network tcp', /there is no network "tcp"/],
      ['sim run calm --agents few', /there are no agents "few"/],
      ['sim run calm --network libp2p --peers 101', /from 2 to 100/],
      // Before it runs, not after.
      ['sim run calm --timeline /proc/none/run.html', /\/proc\/none\/run\.html cannot be written \(ENOENT\)/],
      ['sim fuzz', /--minutes M is missing/],
      ['sim fuzz --minutes 0', /--minutes takes how long/],
      ['sim fuzz --minutes -1', /--minutes takes how long/],
      ['sim fuzz --minutes soon', /--minutes "soon" is not a number/],
      ['sim list again', /unexpected argument "again"/],
      ['sim list -o xml', /--output "xml" is not one of/],
      ['sim list -o name', /has no names/]
    ]
    for (const [line, message] of cases) {
      const { code, err, out } = await run(line)
      assert.deepEqual([code, out], [2, ''], line)
      assert.match(err, message)
      assert.equal(err.trimEnd().split('\n').length, 1, line)
    }
  })
})
