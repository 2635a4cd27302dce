import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ApiHost } from './api-host.ts'

const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url))
const CTRL_C = '\u0003'

/** `arctic repl` in a terminal of its own, made by script(1), and an operator who loses patience. */
describe('cli: repl in a terminal', function () {
  this.timeout(60_000)
  this.slow(20_000)
  let host: ApiHost
  let home: string
  const children: ChildProcess[] = []
  const sessions: number[] = []
  before(async () => {
    host = await ApiHost.start()
    home = mkdtempSync(join(tmpdir(), 'arctic-repl-'))
  })
  afterEach(() => {
    // What runs at the terminal may not end with it: an endless loop hears no hangup.
    for (const pid of sessions.splice(0)) endQuietly(pid)
    for (const child of children.splice(0)) child.kill('SIGKILL')
  })
  after(async () => {
    rmSync(home, { recursive: true, force: true })
    await host.stop()
  })

  it('Ctrl-C breaks off what is evaluated or awaited, and the session goes on', async () => {
    const terminal = open()
    await terminal.prompt()
    for (const endless of ['while (true) {}', 'await new Promise(() => {})', "actor('agent').ended()"]) {
      terminal.type(`${endless}\r`)
      await terminal.shows(endless)
      // It has to be under way: a key that is pressed before it begins is for the line.
      await new Promise((resolve) => setTimeout(resolve, 500))
      terminal.type(CTRL_C)
      await terminal.shows('broken off by Ctrl-C')
      await terminal.prompt()
      terminal.type('6 * 7\r')
      await terminal.shows('42')
    }
    terminal.type('.exit\r')
    assert.match(await terminal.closed, /EXIT 0\./)
  })

  it('ends with the session, whatever was begun in it and goes on', async () => {
    const terminal = open()
    await terminal.prompt()
    terminal.type("setInterval(() => {}, 100); actor('agent').ended().then(console.log); 'begun'\r")
    await terminal.shows("'begun'")
    terminal.type('.exit\r')
    const shown = await terminal.closed
    assert.match(shown, /EXIT 0\./)
    assert.doesNotMatch(shown, /aborted|ECONNRESET/, 'nothing is said after the end')
  })

  function open() {
    const repl = `exec ${process.execPath} ${main} repl --socket ${host.socket}`
    // Ctrl-C is for all that run in the terminal, also for the shell, some of which would end by it.
    const shell = `trap : INT; stty cols 100 rows 30; sh -c 'echo PID $$.; ${repl}'; echo EXIT $?.`
    const child = spawn('script', ['--quiet', '--flush', '--command', shell, '/dev/null'], {
      env: {
        ...process.env,
        SHELL: '/bin/sh',
        TERM: 'xterm',
        NO_COLOR: '1',
        ARCTIC_REPL_HISTORY: join(home, 'history')
      },
      stdio: ['pipe', 'pipe', 'inherit']
    })
    children.push(child)
    let all = ''
    let seen = 0
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      const known = /PID \d+\./.test(all)
      all += text
      const pid = /PID (\d+)\./.exec(all)?.[1]
      if (!known && pid != null) sessions.push(Number(pid))
    })
    const shows = async (text: string): Promise<void> => {
      const end = performance.now() + 15_000
      for (;;) {
        const at = all.indexOf(text, seen)
        if (at >= 0) return void (seen = at + text.length)
        assert.ok(performance.now() < end && child.exitCode == null, `no "${text}" in: ${all.slice(seen)}`)
        await new Promise((resolve) => setTimeout(resolve, 10))
      }
    }
    return {
      shows,
      prompt: () => shows('arctic> '),
      type: (keys: string) => child.stdin.write(keys),
      closed: once(child, 'close').then(() => all)
    }
  }
})

function endQuietly(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It has ended by itself, as it should.
  }
}
