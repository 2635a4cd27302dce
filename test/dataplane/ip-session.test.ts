import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { systemClock } from '../../src/clock.ts'
import { ProgramFailedError } from '../../src/dataplane/exec.ts'
import { ip } from '../../src/dataplane/ip.ts'
import { IpSession } from '../../src/dataplane/ip-session.ts'

describe('dataplane/ip-session', function () {
  this.timeout(10_000)
  const session = new IpSession(systemClock)
  afterEach(() => session.close())

  const loopback = ['-j', 'link', 'show', 'lo']
  const nowhere = ['-j', 'link', 'show', 'no-such-device']

  it('answers in order, each with its exit code, and says what was said of failures', async () => {
    const calls = [[loopback, nowhere, loopback], [nowhere], [], [loopback]]
    const answers = await Promise.all(calls.map((questions) => session.ask(questions)))
    assert.deepEqual(
      answers.map((answer) => answer.map(({ code }) => code)),
      [[0, 1, 0], [1], [], [0]]
    )
    for (const { stdout, code } of answers.flat()) {
      if (code === 0) assert.equal((JSON.parse(stdout) as Array<{ ifname: string }>)[0]?.ifname, 'lo')
      else assert.equal(stdout.trim(), '')
    }
    assert.match(answers[0]![0]!.stderr, /no-such-device/)
    assert.equal(answers[3]![0]!.stderr, '')
  })

  it('keeps one shell for all questions, and ends it', async () => {
    await session.ask([loopback])
    const [shell] = shells()
    await session.ask([loopback, loopback])
    assert.deepEqual(shells(), [shell])
    await session.close()
    assert.deepEqual(shells(), [])
  })

  it('tells who asks that the shell was killed, and goes on with another', async () => {
    await session.ask([loopback])
    const asked = session.ask(Array.from({ length: 500 }, () => loopback))
    process.kill(shells()[0]!, 'SIGKILL')
    await assert.rejects(asked, (error) => error instanceof ProgramFailedError && /has ended/.test(error.stderr))
    assert.equal((await session.ask([loopback]))[0]?.code, 0)
  })

  it('goes on after a shell that ended while nobody asked', async () => {
    await session.ask([loopback])
    const [shell] = shells()
    process.kill(shell!, 'SIGKILL')
    while (shells().includes(shell!)) await new Promise((resolve) => setTimeout(resolve, 5))
    await new Promise((resolve) => setTimeout(resolve, 50))
    assert.equal((await session.ask([loopback]))[0]?.code, 0)
  })

  it('hands nothing to the shell that is no plain word', () => {
    for (const word of ['$(reboot)', 'a b', ';', '', "'", '\n'])
      assert.throws(() => session.ask([['link', word]]), TypeError)
  })

  it('reads the host as it is', async () => {
    const { links, routes4, routes6 } = await ip.host(session, { ipv6: false })
    assert.deepEqual(
      links.map(({ ifname }) => ifname),
      (await ip.links()).map(({ ifname }) => ifname)
    )
    assert.ok(Array.isArray(routes4))
    assert.deepEqual(routes6, [])
    const [four] = await ip.policy(session, [4], 173)
    assert.ok(four!.rules.some(({ table }) => table === '254'))
  })

  /** Shells that this process has started and that have not ended. */
  function shells(): number[] {
    const children = readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8').trim().split(' ').map(Number)
    return children.filter((pid) => pid > 0 && /^\d+ \(sh\) [^Z]/.test(readFileSync(`/proc/${pid}/stat`, 'utf8')))
  }
})
