import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

describe('the history in memory', function () {
  this.timeout(240_000)

  async function measured(program: string): Promise<string> {
    const path = fileURLToPath(new URL(`support/${program}`, import.meta.url))
    const flags = ['--expose-gc', '-C', 'development', '--disable-warning=ExperimentalWarning']
    const { stdout } = await promisify(execFile)(process.execPath, [...flags, path])
    return stdout
  }

  it('is some 200 bytes of a change, and no document', async () => {
    const bytes = Number(await measured('history-memory.ts'))
    // With an object for each entry it was 650, with the document 1,600.
    assert.ok(bytes > 50 && bytes < 320, `${bytes} bytes`)
  })

  it('takes not much more than its file while a snapshot is made', async () => {
    const [captured, ready] = JSON.parse(await measured('snapshot-memory.ts')) as [number, number]
    // 185 are the file's; pieces that are not full yet come to as much as a hundred. With arrays and one text it was 521 and 707.
    assert.ok(captured > 50 && captured < 350, `${captured} bytes`)
    assert.ok(ready > 50 && ready < 350, `${ready} bytes`)
  })
})
