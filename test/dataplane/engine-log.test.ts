import assert from 'node:assert/strict'
import { createHook } from 'node:async_hooks'
import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { tailEngineLog } from '../../src/dataplane/engine-log.ts'
import { engineLogPollMs } from '../../src/dataplane/limits.ts'
import { silentLogger, type Logger } from '../../src/log.ts'
import { FakeClock } from '../actors/fakes/clock.ts'

describe('the log of an engine', () => {
  let directory: string
  let path: string
  const clock = new FakeClock()
  const said: string[] = []
  const log: Logger = { ...silentLogger, info: (_, message) => void said.push(message), module: () => log }
  let end: () => Promise<void>

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'arctic-engine-log-'))
    path = join(directory, 'log')
    writeFileSync(path, 'of an earlier agent\n')
    end = await tailEngineLog(path, 'pegasus', clock, log)
  })
  afterEach(async () => {
    await end()
    rmSync(directory, { recursive: true })
    assert.equal(clock.pending, 0)
  })

  it('is handed on line by line, each once', async () => {
    appendFileSync(path, '{"level":"info","message":"one"}\n{"level":"info","mess')
    await clock.advance(engineLogPollMs)
    appendFileSync(path, 'age":"two"}\n')
    await end()
    end = async () => {}
    assert.deepEqual(said, ['one', 'two'])
  })

  it('is not read while there is nothing new', async () => {
    let asked = 0
    const hook = createHook({ init: (_, type) => void (type.startsWith('FSREQ') && asked++) }).enable()
    try {
      await clock.advance(10 * engineLogPollMs)
      assert.equal(asked, 0)
      appendFileSync(path, '{"level":"info","message":"three"}\n')
      await clock.advance(engineLogPollMs)
      assert.ok(asked > 0)
    } finally {
      hook.disable()
    }
  })
})
