import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { Applier } from '../../../src/api/declare/applier.ts'
import { Journal } from '../../../src/api/declare/journal.ts'
import { revertRetryMs } from '../../../src/api/declare/limits.ts'
import { type Clock, systemClock } from '../../../src/clock.ts'
import { UnavailableError } from '../../../src/errors.ts'
import { silentLogger } from '../../../src/log.ts'
import { yamlTexts } from '../../yaml-corpus.ts'
import { ApiHost } from '../api-host.ts'
import { MemoryOperator } from '../memory-operator.ts'

const web = { name: 'web', source_peer: 'edge-a', target_peer: 'edge-b', routes: [{ dest_cidr: '10.2.0.0/24' }] }
const mail = { ...web, name: 'mail', routes: [] }

/** Timers that run when told; the wall clock is `now`. */
class ManualClock implements Clock {
  ms = 0
  readonly #timers = new Map<() => void, number>()
  now = (): number => this.ms
  monotonic = (): number => this.ms
  every = systemClock.every.bind(systemClock)
  sleep = systemClock.sleep.bind(systemClock)
  after(ms: number, fn: () => void) {
    this.#timers.set(fn, this.ms + ms)
    return { cancel: () => void this.#timers.delete(fn) }
  }

  pass(ms: number): void {
    this.ms += ms
    const due = this.#timers
      .entries()
      .filter(([, at]) => at <= this.ms)
      .map(([fn]) => fn)
      .toArray()
    for (const fn of due) {
      this.#timers.delete(fn)
      fn()
    }
  }
}

async function until(met: () => boolean): Promise<void> {
  for (let tries = 0; !met(); tries++) {
    assert.ok(tries < 400, 'it happens within 2 s')
    await systemClock.sleep(5)
  }
}

describe('api: an apply that waits for its confirmation', () => {
  let directory: string
  let journal: string
  let clock: ManualClock
  let operator: MemoryOperator
  let applier: Applier
  const start = async (): Promise<Applier> => {
    const made = new Applier({ operator, journal: new Journal(journal), clock, log: silentLogger })
    await made.start()
    return made
  }
  const names = (): string[] => [...operator.services.values()].map(({ name }) => name).toSorted()

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'arctic-apply-'))
    journal = join(directory, 'pending.json')
    clock = new ManualClock()
    operator = new MemoryOperator()
    applier = await start()
    await applier.apply({ services: [web] }, {})
  })
  afterEach(async () => {
    await applier.stop()
    rmSync(directory, { recursive: true, force: true })
  })
  const replaceAll = () => applier.apply({ services: [mail] }, { prune: true, confirmWithinSeconds: 60 })

  it('stays when it is confirmed in time', async () => {
    const { pending } = await replaceAll()
    assert.equal(pending?.expires_at, '1970-01-01T00:01:00.000Z')
    assert.equal(statSync(journal).mode & 0o777, 0o600)
    clock.pass(59_000)
    assert.deepEqual(await applier.confirm(), { confirmed: 2 })
    clock.pass(60_000)
    await assert.rejects(applier.confirm(), { code: 'not_found' })
    assert.deepEqual([names(), existsSync(journal)], [['mail'], false])
  })

  it('takes itself back when it is not, routes and all', async () => {
    await replaceAll()
    assert.deepEqual(names(), ['mail'])
    clock.pass(60_000)
    await until(() => applier.pending == null)
    assert.deepEqual(await applier.export(), { services: [web] })
    assert.deepEqual([applier.pending, existsSync(journal)], [null, false])
  })

  it('takes itself back by the agent that comes after a killed one, at once if the time is up', async () => {
    for (const [passed, later] of [
      [10_000, 50_000],
      [100_000, 0]
    ] as const) {
      await replaceAll()
      // Killed: its timers are gone with it.
      clock = Object.assign(new ManualClock(), { ms: clock.ms + passed })
      applier = await start()
      assert.deepEqual(names(), ['mail'])
      clock.pass(later)
      await until(() => applier.pending == null)
      assert.deepEqual([names(), existsSync(journal)], [['web'], false])
    }
  })

  it('tries until it can', async () => {
    await replaceAll()
    let refused = 0
    const refuse = (): Promise<never> => {
      refused++
      return Promise.reject(new UnavailableError('the disk is full'))
    }
    Object.defineProperty(operator, 'deleteService', { value: refuse, configurable: true })
    clock.pass(60_000)
    await until(() => refused === 1)
    assert.deepEqual(names(), ['mail', 'web'])
    assert.ok(existsSync(journal))
    Reflect.deleteProperty(operator, 'deleteService')
    await until(() => {
      clock.pass(revertRetryMs)
      return applier.pending == null
    })
    assert.deepEqual([names(), existsSync(journal)], [['web'], false])
  })

  it('keeps others out until it is decided, but not their questions', async () => {
    await replaceAll()
    await assert.rejects(applier.apply({ services: [] }, {}), { status: 409, exitCode: 5, message: /arctic confirm/ })
    assert.equal((await applier.apply({ services: [web] }, { dryRun: true })).changes.length, 1)
    await applier.confirm()
    await applier.apply({ services: [web] }, {})
    assert.deepEqual(names(), ['mail', 'web'])
  })

  it('that fails at its first step says nothing of taking back', async () => {
    operator.createService = () => Promise.reject(new UnavailableError('the disk is full'))
    await assert.rejects(applier.apply({ services: [web, mail] }, { confirmWithinSeconds: 60 }), {
      code: 'unavailable',
      message: 'the disk is full'
    })
    assert.deepEqual([applier.pending, existsSync(journal)], [null, false])
  })

  it('that fails half way is taken back, and nothing waits', async () => {
    operator.addRoutes = () => Promise.reject(new UnavailableError('the disk is full'))
    const services = [{ ...web, routes: [] }, mail, { ...web, name: 'third' }]
    await assert.rejects(applier.apply({ services }, { confirmWithinSeconds: 60 }), {
      code: 'unavailable',
      message: /^the disk is full; what had been done is taken back/
    })
    assert.deepEqual(names(), ['web'])
    assert.deepEqual([applier.pending, existsSync(journal)], [null, false])
  })

  it('changes nothing when it cannot be written down first', async () => {
    rmSync(directory, { recursive: true })
    await assert.rejects(
      replaceAll(),
      (error: NodeJS.ErrnoException) => error.code === 'ENOENT' || error.code === 'unavailable'
    )
    assert.deepEqual(names(), ['web'])
  })

  it('is left alone, loudly, when its journal is damaged', async () => {
    writeFileSync(journal, '{"version": 1, "expires')
    const errors: object[] = []
    const log = { ...silentLogger, error: (fields: object) => void errors.push(fields) }
    await new Applier({ operator, journal: new Journal(journal), clock, log }).start()
    assert.match(String((errors[0] as { error: Error }).error.message), /cannot be read; compare/)
    assert.ok(existsSync(journal))
  })
})

describe('cli: apply, diff, export, confirm', () => {
  let host: ApiHost
  let file: string
  beforeEach(async () => {
    host = await ApiHost.start()
    file = join(host.directory, 'mesh.yaml')
  })
  afterEach(async () => {
    await host.stop()
    assert.deepEqual(host.errors, [])
  })
  const write = (text: string | Buffer): void => writeFileSync(file, text)
  const MESH = `# two sites
services:
  - name: web
    source_peer: edge-a
    target_peer: edge-b
    routes:
      - dest_cidr: 10.2.0.0/24
`

  it('go round: what is exported is what was applied, and applying it again has nothing to do', async () => {
    write(MESH)
    const dry = await host.cli(['apply', '-f', file, '--dry-run'])
    assert.deepEqual([dry.exit, host.operator.services.size], [0, 0], dry.err)
    assert.match(dry.out, /^\+ +service +web +source_peer: edge-a, target_peer: edge-b, 1 routes$/m)
    assert.match(dry.out, /^rules on edge-a:\n\+ {2}map route: 10\.2\.0\.0\/24$/m)
    assert.match(dry.out, /^rules on edge-b: not known, it cannot be reached now$/m)
    assert.match(dry.out, /dry run: 1 to create, 0 to update, 0 to delete/)
    const applied = await host.cli(['apply', '-f', file])
    assert.deepEqual([applied.exit, /^done: 1 created, 0 updated, 0 deleted$/m.test(applied.out)], [0, true])
    assert.equal(host.operator.routes.size, 1)
    const exported = await host.cli(['export'])
    assert.equal(exported.out, MESH.slice(MESH.indexOf('services')))
    for (const again of [
      await host.cli(['apply', '-f', '-', '--prune'], { input: exported.out }),
      await host.cli(['diff', '-f', '-'], { input: (await host.cli(['export', '-j'])).out })
    ]) {
      assert.deepEqual([again.exit, again.out], [0, 'nothing to change\n'], again.err)
    }
    const json = (await host.cli(['diff', '-f', '-', '--prune', '-j'], { input: 'services:\n' })).json
    assert.deepEqual([json.dry_run, json.changes[0].action, json.changes[0].service], [true, 'delete', 'web'])
  })

  it('ask on a terminal before anything is deleted', async () => {
    write(MESH)
    await host.cli(['apply', '-f', file])
    write('services: []')
    const kept = await host.cli(['apply', '-f', file, '--prune'], { terminal: 'n\n' })
    assert.match(kept.err, /^Delete web\? \[y\/N\] nothing was deleted/)
    assert.deepEqual([kept.exit, host.operator.services.size], [1, 1])
    assert.equal((await host.cli(['apply', '-f', file, '--prune', '--yes'], { terminal: '' })).exit, 0)
    assert.equal(host.operator.services.size, 0)
  })

  it('confirm in two ways, and say when there is nothing to confirm', async () => {
    for (const confirm of [['confirm'], ['apply', '--confirm']]) {
      write(MESH.replace('web', confirm[0]!))
      const applied = await host.cli(['apply', '-f', file, '--confirm-within', '60s'])
      assert.match(applied.out, /taken back at .*Z unless you run "arctic confirm"/)
      assert.equal((await host.cli(['apply', '-f', file])).exit, 5)
      const done = await host.cli(confirm)
      assert.deepEqual([done.exit, done.out], [0, 'confirmed: 1 change\n'])
      assert.equal((await host.cli(confirm)).exit, 4)
    }
  })

  it('say what is wrong with a file, where it stands', async () => {
    for (const [text, message] of [
      ['services: [', /is not YAML/],
      ['[]', /has no list "services:"/],
      ['service: []', /has no list "services:"/],
      ['services: []\nroute: []', /unknown field "route"/],
      ['services: [{name: web}]', /the field "services\[0\]\.source_peer" is missing/],
      ['services: [{name: web, source_peer: a, target_peer: b, bandwith_limit_mbps: 1}]', /"bandwidth_limit_mbps"/],
      [MESH.replace('10.2.0.0/24', '10.2.0.1/24'), /routes\[0\]: .*did you mean 10\.2\.0\.0\/24/],
      [
        `a: &a [x,x,x,x,x,x,x,x,x]\n${'bcdefghi'
          .split('')
          .map((key, n) => `${key}: &${key} [${Array.from({ length: 9 }, () => `*${'abcdefgh'[n]}`).join()}]`)
          .join('\n')}\nservices: *i`,
        /cannot be read/
      ],
      ['services: &a [*a]', /cannot be read/],
      ['services: []\n---\nservices: []', /holds several documents; give one at a time/],
      [Buffer.from('services: [{name: "\xff", source_peer: a, target_peer: b}]', 'latin1'), /is not UTF-8/]
    ] as const) {
      write(text)
      const ran = await host.cli(['apply', '-f', file])
      assert.deepEqual([ran.exit, host.operator.services.size], [2, 0], ran.err)
      assert.match(ran.err, message)
    }
    const missing = await host.cli(['apply', '-f', join(host.directory, 'none.yaml')])
    assert.deepEqual([missing.exit, /none\.yaml cannot be read \(ENOENT\)/.test(missing.err)], [2, true])
    assert.match((await host.cli(['apply'])).err, /--file FILE is missing/)
  })

  it('of any file are done or refused with a reason, and never half', async () => {
    await fc.assert(
      fc.asyncProperty(yamlTexts([MESH, 'services:\n']), async (text) => {
        write(text)
        const before = host.operator.services.size
        const ran = await host.cli(['apply', '-f', file, '--yes'])
        assert.ok([0, 1, 2, 4, 5].includes(ran.exit), `${ran.exit}: ${ran.err}`)
        if (ran.exit === 0) return
        assert.match(ran.err, /^error: \w+: /)
        assert.doesNotMatch(ran.err, /error: internal/)
        assert.equal(host.operator.services.size, before, text)
      }),
      { numRuns: 150 }
    )
    assert.deepEqual(host.errors, [])
  })

  it('take ten thousand services in one file', async () => {
    const services = Array.from({ length: 10_000 }, (_, n) => ({ ...web, name: `service-${n}` }))
    const answer = await host.ask('POST', '/v1/apply', { services })
    assert.deepEqual([answer.status, host.operator.services.size], [200, 10_000])
    const again = await host.ask('POST', '/v1/apply', { services, prune: true })
    assert.deepEqual(again.json.changes, [])
    const more = await host.ask('POST', '/v1/apply', { services: [...services, web] })
    assert.equal(more.status, 400)
  }).timeout(20_000)
})
