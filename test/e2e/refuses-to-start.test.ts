import assert from 'node:assert/strict'
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { LOG_MAGIC } from '../../src/crdt/log.ts'
import { labFor } from '../../lab/for-tests.ts'
import type { Host } from '../../lab/host.ts'
import type { Lab } from '../../lab/lab.ts'
import { ARCTIC, Peer } from '../../lab/peer.ts'
import { snapshotDiff, snapshotHost } from '../../lab/snapshot.ts'
import { until } from '../../lab/wait.ts'
import { tcpServer } from '../../lab/traffic/tools.ts'

const NOBODY = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', '--bounding-set=-all']

describe('e2e: an agent that cannot start says why and touches nothing', function () {
  this.timeout(30_000)
  let lab: Lab
  let host: Host
  let directories = 0

  before(async function () {
    lab = await labFor(this, 'e2e-start')
    host = await lab.host('edge')
  })
  after(() => lab?.close())

  const flags = (): string[] => {
    const directory = host.path(`state-${++directories}`)
    return ['--state-dir', directory, '--socket', `${directory}.sock`, '--log-format', 'json']
  }
  const start = (prefix: string[], more: string[]): ReturnType<Host['attempt']> =>
    host.attempt([...prefix, ARCTIC, 'agent', ...more], { timeoutMs: 15_000 })

  async function refuses(prefix: string[], more: string[], hint: RegExp): Promise<void> {
    const before_ = await snapshotHost(host)
    const { code, signal, stderr } = await start(prefix, more)
    // An agent that runs on although it should not must not disturb the next test: its engines would stay, too.
    for (const pid of signal == null ? [] : host.pids()) process.kill(pid, 'SIGKILL')
    assert.equal(signal, null, `it did not end: ${stderr.slice(-500)}`)
    assert.notEqual(code, 0)
    const last = stderr.trim().split('\n').at(-1) ?? ''
    assert.match(last, /^error: \w+: /)
    assert.match(last, hint)
    assert.deepEqual(snapshotDiff(before_, await snapshotHost(host)), [])
  }

  it('without root: names the missing capability and the way without', async () => {
    const more = flags()
    mkdirSync(more[1] ?? '')
    chmodSync(more[1] ?? '', 0o777)
    chmodSync(host.directory, 0o777)
    await refuses(NOBODY, more, /CAP_NET_ADMIN.*--dataplane none/)
  })

  it('without root, but with --dataplane none: runs', async () => {
    const directory = host.path('unprivileged')
    mkdirSync(directory)
    chmodSync(directory, 0o777)
    const more = ['--state-dir', `${directory}/state`, '--socket', `${directory}/agent.sock`, '--dataplane', 'none']
    const agent = await host.spawn([...NOBODY, ARCTIC, 'agent', ...more, '--log-format', 'json'])
    const cli = [...NOBODY, ARCTIC, '--socket', `${directory}/agent.sock`, '-j', 'status']
    for (let tries = 0; !existsSync(`${directory}/agent.sock`) && tries < 100; tries++)
      await host.exec(['sleep', '0.1'])
    assert.match(await host.exec(cli), /"mode":\s*"none"/)
    assert.deepEqual(await agent.stop({ graceMs: 10_000 }), { code: 0, signal: null })
  })

  for (const [what, port] of [
    ['mesh', 7946],
    ['data', 7947],
    ['API', 8080]
  ] as const) {
    it(`the ${what} port is taken: says which`, async () => {
      const other = await tcpServer(host, '0.0.0.0', { hold: port })
      try {
        await refuses([], flags(), new RegExp(`${port}`))
      } finally {
        await other.stop()
      }
    })
  }

  it('two agents on one state directory: the second one names the first', async () => {
    const first = await new Peer(host, { flags: ['--dataplane', 'none'] }).start()
    const more = ['--state-dir', first.stateDir, '--socket', host.path('second.sock'), '--dataplane', 'none']
    const elsewhere = ['--mesh-listen', '/ip4/0.0.0.0/tcp/7956', '--data-listen', '0.0.0.0:7957', '--api-listen', 'off']
    await refuses([], [...more, ...elsewhere, '--log-format', 'json'], new RegExp(`pid ${first.agent.pid}\\b`))
    assert.equal((await first.cli('status')).code, 0)
    await first.end('SIGTERM')
  })

  it('two agents on one socket: the second one leaves the first its socket', async () => {
    const first = await new Peer(host, { flags: ['--dataplane', 'none'], directory: 'one' }).start()
    const more = ['--state-dir', host.path('other-state'), '--socket', first.socket, '--dataplane', 'none']
    const elsewhere = ['--mesh-listen', '/ip4/0.0.0.0/tcp/7956', '--data-listen', '0.0.0.0:7957', '--api-listen', 'off']
    await refuses([], [...more, ...elsewhere, '--log-format', 'json'], /socket|agent\.sock|one\.sock/)
    assert.equal((await first.cli('status')).code, 0)
    await first.end('SIGTERM')
  })

  it('two agents with a data plane on one host: the second one names the first and leaves its rules', async () => {
    const first = await new Peer(host, { directory: 'steering' }).start()
    const inForce = async () => (await host.attempt(['nft', 'list', 'table', 'inet', 'arctic'])).code === 0
    await until('the rules of the first', inForce, { timeoutMs: 5000 })
    const more = [
      ...flags(),
      '--mesh-listen',
      '/ip4/0.0.0.0/tcp/7956',
      '--data-listen',
      '0.0.0.0:7957',
      '--api-listen',
      'off'
    ]
    await refuses([], more, new RegExp(`pid ${first.agent.pid}\\b.*--dataplane none`))
    assert.equal((await first.cli('status')).code, 0)
    await first.end('SIGTERM')
  })

  it('the state directory cannot be written', async () => {
    const directory = host.path('read-only')
    mkdirSync(directory)
    const mounted = ['sh', '-c', 'mount -t tmpfs -o ro tmpfs "$0" && exec "$@"', directory]
    await refuses(mounted, ['--state-dir', directory, '--socket', host.path('ro.sock')], /read-only/)
    const file = host.path('a-file')
    writeFileSync(file, '')
    await refuses([], ['--state-dir', `${file}/state`, '--socket', host.path('ro.sock')], /a-file/)
  })

  it('the state directory is of a newer format: left as it is', async () => {
    const peer = await new Peer(host, { flags: ['--dataplane', 'none'], directory: 'newer' }).start()
    await peer.ask('cluster', 'init')
    await peer.end('SIGTERM')
    const log = `${peer.stateDir}/cluster/log`
    const bytes = readFileSync(log)
    bytes.writeUInt32BE(bytes.readUInt32BE(LOG_MAGIC.length) + 1, LOG_MAGIC.length)
    writeFileSync(log, bytes)
    const more = ['--state-dir', peer.stateDir, '--socket', peer.socket, '--dataplane', 'none']
    await refuses([], more, /newer agent/)
    assert.deepEqual(readFileSync(log), bytes)
  })

  const wrong: Array<[what: string, flags: string[], hint: RegExp]> = [
    ['a flag that does not exist', ['--colour'], /--colour/],
    ['a mesh address that is none', ['--mesh-listen', '0.0.0.0:7946'], /mesh-listen/],
    ['a data address that is none', ['--data-listen', 'here'], /data-listen/],
    ['a data plane that does not exist', ['--dataplane', 'magic'], /dataplane/],
    ['a config file that is not there', ['--config', '/nowhere.yaml'], /nowhere/]
  ]
  for (const [what, more, hint] of wrong) it(what, () => refuses([], [...flags(), ...more], hint))
})
