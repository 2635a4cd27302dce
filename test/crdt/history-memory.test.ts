import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

describe('the history in memory', function () {
  this.timeout(240_000)

  async function measured(program: string, ...more: string[]): Promise<string> {
    const path = fileURLToPath(new URL(`support/${program}`, import.meta.url))
    const flags = [...more, '--expose-gc', '-C', 'development', '--disable-warning=ExperimentalWarning']
    const { stdout } = await promisify(execFile)(process.execPath, [...flags, ...more, path])
    return stdout
  }

  it('is some 60 bytes of a change, its row in a file, and no document', async () => {
    const [heap, outside] = JSON.parse(await measured('history-memory.ts')) as [number, number]
    // With objects for records that are gone it was 79 and 20, with its row 230, with an object for each entry 650, with the document 1,600.
    assert.ok(heap > -5 && heap < 40 && outside > 5 && outside < 50, `${heap} and ${outside} bytes`)
  })

  it('is folded anew however long it is', async () => {
    // A stack for some 19,000 arguments, in place of the 125,000 of an agent's.
    assert.equal(await measured('history-rebuilt.ts', '--stack-size=150'), '[20000,true]')
  })

  it('takes not much more than its file while a snapshot is made', async () => {
    const [captured, ready] = JSON.parse(await measured('snapshot-memory.ts')) as [number, number]
    // 185 are the file's; pieces that are not full yet come to as much as a hundred. With arrays and one text it was 521 and 707.
    assert.ok(captured > 50 && captured < 350, `${captured} bytes`)
    assert.ok(ready > 50 && ready < 350, `${ready} bytes`)
  })

  it('takes next to nothing more than what comes of it while a snapshot is read, and compared with the history', async () => {
    // Of a nursery of 1 MB, of which 20,000 changes have 50 bytes each.
    const nursery = ['--min-semi-space-size=1', '--max-semi-space-size=1']
    const [read, compared] = JSON.parse(await measured('reading-memory.ts', ...nursery)) as [number, number]
    // With arrays for all entries, and texts of all objects, it was 505 and 578.
    assert.ok(read < 160, `${read} bytes`)
    assert.ok(compared < 220, `${compared} bytes`)
  })
})
