import { deepEqual, equal } from 'node:assert/strict'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ConfigFile, largeConfigLength } from '../../src/dataplane/config-file.ts'
import { configBurst, configEveryMs, largeConfigEveryMs } from '../../src/dataplane/limits.ts'
import { FakeClock } from '../actors/fakes/clock.ts'

describe('the file of what an engine was last told', () => {
  let directory: string
  let path: string
  let clock: FakeClock
  let file: ConfigFile
  const errors: unknown[] = []

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'arctic-config-'))
    path = join(directory, 'config.json')
    clock = new FakeClock()
    file = new ConfigFile(path, clock, (error) => errors.push(error))
  })
  afterEach(async () => {
    await rm(directory, { recursive: true })
    deepEqual(errors.splice(0), [])
  })

  const tell = (n: number): Promise<void> => file.write(() => JSON.stringify({ n }))
  const written = async (): Promise<unknown> => (JSON.parse(await readFile(path, 'utf8')) as { n: unknown }).n
  /** The timer's write is not awaited by anybody; the next one comes after it. */
  const after = async (ms: number): Promise<void> => {
    await clock.advance(ms)
    await file.flush()
  }

  it('is written before the change is done, for a few changes', async () => {
    for (let n = 1; n <= configBurst; n++) {
      await tell(n)
      equal(await written(), n)
    }
    equal(clock.pending, 0)
  })

  it('is written now and then while changes go on, and holds the newest soon after the last one', async () => {
    let texts = 0
    for (let n = 1; n <= 100; n++) {
      await file.write(() => {
        texts++
        return JSON.stringify({ n })
      })
      await clock.advance(10)
    }
    await after(configEveryMs)
    equal(await written(), 100)
    const most = configBurst + Math.ceil((100 * 10 + configEveryMs) / configEveryMs)
    equal(texts <= most, true, `${texts} writes of at most ${most}`)
    equal(clock.pending, 0)
  })

  it('is written at once again after a pause', async () => {
    for (let n = 1; n <= configBurst + 1; n++) await tell(n)
    equal(await written(), configBurst)
    await after(configEveryMs)
    equal(await written(), configBurst + 1)
    await clock.advance(configBurst * configEveryMs)
    for (let n = 101; n <= 100 + configBurst; n++) {
      await tell(n)
      equal(await written(), n)
    }
  })

  it('is written every two seconds at most when it is large', async () => {
    const large = (n: number): Promise<void> =>
      file.write(() => JSON.stringify({ n, text: 'x'.repeat(largeConfigLength) }))
    await large(1)
    await large(2)
    equal(await written(), 1)
    await clock.advance(largeConfigEveryMs - 1)
    equal(await written(), 1)
    await after(1)
    equal(await written(), 2)
  })

  it('is written at once, whatever was before, when the next agent has to know', async () => {
    for (let n = 1; n <= configBurst + 5; n++) await tell(n)
    await file.write(() => JSON.stringify({ n: 'marks' }), { atOnce: true })
    equal(await written(), 'marks')
  })

  it('holds the newest when the agent ends', async () => {
    for (let n = 1; n <= configBurst + 5; n++) await tell(n)
    await file.flush()
    equal(await written(), configBurst + 5)
    equal(clock.pending, 0)
  })
})
