import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { enterScreen, leaveScreen } from '../../src/api/cli/top/draw.ts'
import { ApiHost } from './api-host.ts'

const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url))

/** `arctic top` in a terminal of its own, made by script(1), with what a shell would find before and after it. */
describe('cli: top in a terminal', function () {
  this.timeout(60_000)
  this.slow(20_000)
  let host: ApiHost
  const children: ChildProcess[] = []
  before(async () => {
    host = await ApiHost.start()
  })
  afterEach(() => {
    for (const child of children.splice(0)) child.kill('SIGKILL')
  })
  after(() => host.stop())

  for (const [how, exit] of [
    ['SIGTERM', 143],
    ['SIGHUP', 129],
    ['SIGINT', 0],
    ['the key q', 0]
  ] as const) {
    it(`gives the terminal back as it was after ${how}`, async () => {
      const top = `exec ${process.execPath} ${main} top --socket ${host.socket}`
      const shell = `stty cols 100 rows 30; stty -g; sh -c 'echo PID $$.; ${top}'; echo EXIT $?.; stty -g`
      const child = spawn('script', ['--quiet', '--flush', '--command', shell, '/dev/null'], {
        env: { ...process.env, TERM: 'xterm', NODE_OPTIONS: '--disable-warning=ExperimentalWarning' },
        stdio: ['pipe', 'pipe', 'inherit']
      })
      children.push(child)
      let shown = ''
      const drawn = new Promise<void>((resolve, reject) => {
        child.stdout.setEncoding('utf8').on('data', (text: string) => {
          shown += text
          if (shown.includes('arctic top') && shown.includes('q quit')) resolve()
        })
        child.on('close', () => reject(new Error(`top has ended: ${shown}`)))
      })
      await drawn
      const ended = once(child, 'close')
      const pid = Number(/PID (\d+)\./.exec(shown)?.[1])
      if (how === 'the key q') child.stdin.write('q')
      else process.kill(pid, how)
      await ended
      const lines = shown.replaceAll('\r', '').trim().split('\n')
      assert.match(shown, new RegExp(`EXIT ${exit}\\.`))
      assert.equal(lines.at(-1), lines[0], 'the modes of the terminal are what they were')
      const [entered, left] = [shown.lastIndexOf(enterScreen), shown.lastIndexOf(leaveScreen)]
      assert.ok(entered >= 0 && left > entered, 'it leaves the alternate screen and shows the cursor')
      assert.ok(!shown.slice(left).includes('arctic top'), 'nothing is drawn after it')
    })
  }
})
