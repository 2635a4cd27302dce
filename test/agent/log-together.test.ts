import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { describe, it } from 'mocha'
import { TogetherPerTurn } from '../../src/log-together.ts'

const line = (level: string, n: number): string => `{"level":"${level}","n":${n}}\n`

describe('log lines of one turn', () => {
  it('are one write, in order', async () => {
    const writes: string[] = []
    const out = new TogetherPerTurn({ write: (lines) => writes.push(lines) })
    for (let n = 0; n < 3; n++) out.write(line('info', n))
    assert.deepEqual(writes, [])
    await Promise.resolve()
    await new Promise(setImmediate)
    assert.deepEqual(writes, [[0, 1, 2].map((n) => line('info', n)).join('')])
  })

  it('do not wait behind a warning, nor does the warning', () => {
    const writes: string[] = []
    const out = new TogetherPerTurn({ write: (lines) => writes.push(lines) })
    out.write(line('debug', 0))
    out.write(line('warn', 1))
    assert.deepEqual(writes, [line('debug', 0) + line('warn', 1)])
  })

  it('are written when the process ends in that turn', () => {
    const program = `
      import { createLogger } from ${JSON.stringify(new URL('../../src/log.ts', import.meta.url).href)}
      const log = await createLogger({ level: 'info', format: 'json' })
      log.info({}, 'last words')
      process.exit(3)`
    const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', program], { encoding: 'utf8' })
    assert.equal(status, 3)
    assert.equal((JSON.parse(stderr) as { message: string }).message, 'last words')
  })
})
