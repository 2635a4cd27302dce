import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))

describe('the bundle', () => {
  let tree: string

  before(function () {
    this.timeout(120_000)
    tree = mkdtempSync(join(tmpdir(), 'arctic-bundle-'))
    for (const name of ['src', 'sim', 'node_modules', 'package.json', 'tsconfig.json'])
      symlinkSync(join(root, name), join(tree, name))
    // The folder that holds it is where it puts what it makes, and a program's own links are followed.
    mkdirSync(join(tree, 'tools'))
    cpSync(join(root, 'tools/bundle.ts'), join(tree, 'tools/bundle.ts'))
    execFileSync(process.execPath, ['--disable-warning=ExperimentalWarning', join(tree, 'tools/bundle.ts')])
  })
  after(() => rmSync(tree, { recursive: true, force: true }))

  // Node has what it loads itself beside its own file, so a chunk that has taken a library in does not find the rest of it.
  it('simulates: what the simulator takes from Automerge is found from a chunk as well', function () {
    this.timeout(60_000)
    const out = run('sim', 'run', 'calm', '--peers', '2', '--seed', '1', '-j')
    assert.equal((JSON.parse(out) as { violations: unknown[] }).violations.length, 0)
  })

  it('helps and says its version', () => {
    assert.match(run('--help'), /arctic/)
    assert.match(run('--version'), /\d+\.\d+\.\d+/)
  })

  const run = (...argv: string[]): string =>
    execFileSync(process.execPath, ['--disable-warning=ExperimentalWarning', join(tree, 'dist/main.js'), ...argv], {
      encoding: 'utf8'
    })
})
