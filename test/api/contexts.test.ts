import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer as createTlsServer } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { readContextFile } from '../../src/api/cli/contexts.ts'
import { chooseTarget, readFingerprint } from '../../src/api/cli/target.ts'
import { makeCertificate } from '../../src/api/http/tls/certificate.ts'
import { startHttp, type Http } from '../../src/api/http/server.ts'
import { systemClock } from '../../src/clock.ts'
import { silentLogger } from '../../src/log.ts'
import { ApiHost, runCaptured } from './api-host.ts'
import { MemoryOperator } from './memory-operator.ts'

describe('cli: contexts', () => {
  let directory: string
  let path: string
  let env: Record<string, string>
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'arctic-contexts-'))
    path = join(directory, '.config', 'arctic', 'contexts.yaml')
    env = { HOME: directory }
  })
  afterEach(() => rmSync(directory, { recursive: true, force: true }))
  const cli = (...args: string[]) => runCaptured(args, { env })

  it('are added, listed, used and removed, in a file that nobody else can read', async () => {
    assert.deepEqual((await cli('context', 'list', '-j')).json, [])
    assert.equal((await cli('context', 'add', 'lab', '--socket', '/tmp/lab.sock')).exit, 0)
    const added = await cli('context', 'add', 'paris', '--api', '127.0.0.1:8080', '--token', 'secret-1', '-j')
    assert.deepEqual([added.exit, added.json.api, added.out.includes('secret')], [0, 'http://127.0.0.1:8080/', false])
    assert.deepEqual([statSync(path).mode & 0o777, statSync(join(path, '..')).mode & 0o777], [0o600, 0o700])
    const list = await cli('contexts', 'list')
    assert.match(list.out, /^\* +lab +\/tmp\/lab\.sock +no$/m)
    assert.match(list.out, /^ +paris +http:\/\/127\.0\.0\.1:8080\/ +yes$/m)
    assert.equal((await cli('context', 'use', 'paris')).exit, 0)
    assert.equal((await readContextFile(path)).current, 'paris')
    assert.equal((await cli('context', 'remove', 'paris')).exit, 0)
    assert.deepEqual({ ...(await readContextFile(path)).contexts }, { lab: { socket: '/tmp/lab.sock' } })
    for (const verb of ['use', 'remove']) {
      for (const name of ['paris', 'toString', '__proto__']) assert.equal((await cli('context', verb, name)).exit, 4)
    }
    await runCaptured(['context', 'add', 'x', '--api', 'localhost:1', '--token', '-'], { env, input: 't\n' })
    assert.equal((await readContextFile(path)).contexts['x']?.token, 't')
  })

  it('say which agent is asked, after flags and addresses in the environment', async () => {
    await cli('context', 'add', 'lab', '--socket', '/lab.sock')
    await cli('context', 'add', 'paris', '--api', '127.0.0.1:8080', '--token', 'secret')
    const target = async (flags: Record<string, string>, more: Record<string, string> = {}): Promise<unknown> => {
      const chosen = await chooseTarget(flags, { ...env, ...more })
      return chosen.kind === 'socket' ? chosen.path : [chosen.url.href, chosen.token]
    }
    const paris = ['http://127.0.0.1:8080/', 'secret']
    assert.equal(await target({}), '/lab.sock')
    assert.equal(await target({}, { ARCTIC_SOCKET: '/e.sock' }), '/e.sock')
    assert.equal(await target({ socket: '/f.sock' }, { ARCTIC_CONTEXT: 'paris' }), '/f.sock')
    assert.deepEqual(await target({}, { ARCTIC_CONTEXT: 'paris' }), paris)
    assert.deepEqual(await target({ context: 'paris' }, { ARCTIC_SOCKET: '/e.sock', ARCTIC_API: 'localhost:1' }), paris)
    assert.deepEqual(await target({ api: 'http://127.0.0.1:8080' }), paris)
    assert.deepEqual(await target({ api: '127.0.0.1:8080', token: 'other' }), ['http://127.0.0.1:8080/', 'other'])
    assert.deepEqual(await target({ api: 'edge-a:8080' }), ['https://edge-a:8080/', null])
    await assert.rejects(target({ context: 'none' }), /there is no context "none"/)
    await assert.rejects(target({ context: 'lab', socket: '/f' }), /give one of them/)
  })

  it('that are damaged are named, and nothing is guessed', async () => {
    await cli('context', 'add', 'lab', '--socket', '/lab.sock')
    for (const text of ['contexts: [', '[]', 'contexts: {lab: 7}', 'contexts: {lab: {socket: [1]}}', 'current: 5']) {
      writeFileSync(path, text)
      const ran = await cli('status')
      assert.deepEqual([ran.exit, /contexts\.yaml (is not|cannot)/.test(ran.err)], [2, true], `${text}: ${ran.err}`)
      assert.equal(readFileSync(path, 'utf8'), text)
    }
    const nowhere = await runCaptured(['context', 'list'])
    assert.deepEqual([nowhere.exit, /set HOME/.test(nowhere.err)], [2, true])
  })

  it('send no token over plain HTTP to another host', async () => {
    for (const url of ['http://192.0.2.1:8080', 'http://127.example:80', 'http://localhost.example']) {
      const ran = await cli('status', '--api', url, '--token', 'secret')
      assert.deepEqual([ran.exit, /plain HTTP to another host/.test(ran.err)], [2, true], ran.err)
    }
    const allowed = await chooseTarget({ api: 'http://192.0.2.1:8080', token: 'secret', 'api-plain': true }, env)
    assert.equal(allowed.kind, 'url')
  })

  it('read fingerprints as people write them', () => {
    const hex = '0123456789abcdef'.repeat(4)
    const whole = hex.toUpperCase().match(/../g)!.join(':')
    for (const text of [hex, whole, whole.toLowerCase(), `SHA256:${hex}`, `sha-256=${whole}`]) {
      assert.equal(readFingerprint(text), whole)
    }
    for (const text of ['', 'AB:CD', `${hex}0`, hex.replace('0', 'x')]) assert.throws(() => readFingerprint(text))
  })

  describe('of an agent beyond loopback', () => {
    let http: Http
    let url: string
    let state: string
    before(async () => {
      state = mkdtempSync(join(tmpdir(), 'arctic-remote-'))
      http = await startHttp({
        operator: new MemoryOperator(),
        socketPath: join(state, 'agent.sock'),
        apiListen: '0.0.0.0:0',
        stateDir: state,
        log: silentLogger,
        version: '0.1.0'
      })
      url = `https://localhost:${http.tcpAddress!.split(':')[1]}/`
    })
    after(async () => {
      await http.stop()
      rmSync(state, { recursive: true, force: true })
    })

    it('pin its certificate after a look, and reach it then', async () => {
      const unknown = await cli('status', '--api', url)
      assert.deepEqual([unknown.exit, /is not known here .*; compare its fingerprint/.test(unknown.err)], [3, true])
      const shown = await cli('context', 'add', 'far', '--api', url)
      assert.deepEqual([shown.exit, shown.err.includes(`--fingerprint ${http.fingerprint}`)], [2, true], shown.err)
      const no = await runCaptured(['context', 'add', 'far', '--api', url], { env, terminal: 'n\n' })
      assert.deepEqual([no.exit, no.err.endsWith('nothing was saved\n'), existsSync(path)], [1, true, false])
      const yes = await runCaptured(['context', 'add', 'far', '--api', url], { env, terminal: 'y\n' })
      assert.deepEqual([yes.exit, yes.err.includes(http.fingerprint!)], [0, true])
      // It is reached: that it takes no token yet is its own word.
      const reached = await cli('status', '--token', 'x')
      assert.deepEqual([reached.exit, reached.err.startsWith('error: unauthorized')], [6, true], reached.err)
      const again = await cli('status', '--api', url)
      assert.equal(again.exit, 6, 'the pin belongs to the URL')
      const other = await cli('context', 'add', 'far', '--api', url, '--fingerprint', 'AB'.repeat(32))
      assert.equal(other.exit, 0, other.err)
      assert.match((await cli('status')).err, /^error: forbidden: .* another certificate than the one pinned/)
      const events = await cli('services', 'list', '--watch')
      assert.match(events.err, /^error: forbidden/)
    })

    it('send nothing to who has another certificate', async () => {
      let requests = 0
      const pair = await makeCertificate([], systemClock.now())
      const server = createTlsServer(pair, (_request, response) => {
        requests++
        response.end('{}')
      }).listen(0, '127.0.0.1')
      await once(server, 'listening')
      const { port } = server.address() as { port: number }
      const args = [
        'status',
        '--api',
        `https://127.0.0.1:${port}`,
        '--token',
        'secret',
        '--fingerprint',
        http.fingerprint!
      ]
      assert.deepEqual([(await cli(...args)).exit, requests], [6, 0])
      server.close()
    })

    it('say when the other end speaks the other protocol', async () => {
      const plain = await ApiHost.start({ apiListen: '127.0.0.1:0' })
      const wrong = await cli('status', '--api', `https://${plain.http.tcpAddress}`)
      assert.deepEqual([wrong.exit, /does not speak HTTPS/.test(wrong.err)], [3, true], wrong.err)
      await plain.stop()
      const other = await cli('status', '--api', url.replace('https', 'http'))
      assert.deepEqual([other.exit, /write https:/.test(other.err)], [3, true], other.err)
    })
  })
})
