import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

describe('the history in memory', function () {
  this.timeout(240_000)

  it('is some 200 bytes of a change, and no document', async () => {
    const program = fileURLToPath(new URL('support/history-memory.ts', import.meta.url))
    const flags = ['--expose-gc', '-C', 'development', '--disable-warning=ExperimentalWarning']
    const { stdout } = await promisify(execFile)(process.execPath, [...flags, program])
    const bytes = Number(stdout)
    // With an object for each entry it was 650, with the document 1,600.
    assert.ok(bytes > 50 && bytes < 320, `${bytes} bytes`)
  })
})
