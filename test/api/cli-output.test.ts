import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { parse as parseYaml, parseAllDocuments } from 'yaml'
import { COMMANDS } from '../../src/api/cli/commands.ts'
import { age, bytes, duration } from '../../src/api/cli/humane.ts'
import { table } from '../../src/api/cli/table.ts'
import { systemClock } from '../../src/clock.ts'
import { ApiHost, type CliOptions } from './api-host.ts'
import { EDGE_B, EDGE_C, GOOD_TOKEN } from './memory-operator.ts'

describe('cli: output', () => {
  let host: ApiHost
  beforeEach(async () => void (host = await ApiHost.start()))
  afterEach(async () => {
    await host.stop()
    assert.deepEqual(host.errors, [])
  })

  it('of an invite is the token alone, with -j all of it', async () => {
    const plain = await host.cli(['cluster', 'invite'])
    assert.deepEqual(plain, { exit: 0, out: `${GOOD_TOKEN}\n`, err: '', json: undefined })
    const full = await host.cli(['cluster', 'invite', '--ttl', '1h30m', '--uses', '3', '--role', 'member', '-j'])
    assert.deepEqual([full.json.token, full.json.uses, full.json.role], [GOOD_TOKEN, 3, 'member'])
    const lifetime = Date.parse(full.json.expires_at) - systemClock.now()
    assert.ok(Math.abs(lifetime - 5_400_000) < 60_000)
  })

  it('of init and join is the cluster; both refuse inside one with exit 5', async () => {
    for (const args of [
      ['cluster', 'init', '--name', 'offices'],
      ['cluster', 'join', GOOD_TOKEN]
    ]) {
      const refused = await host.cli(args)
      assert.equal(refused.exit, 5)
      assert.match(refused.err, /^error: already_in_cluster: .*; leave it first/)
      host.operator.cluster = null
      const ran = await host.cli([...args, '-j'])
      assert.deepEqual([ran.exit, ran.json.members.length], [0, 2], ran.err)
    }
    host.operator.cluster = null
    const piped = await host.cli(['cluster', 'join', '-', '-j'], { input: `${GOOD_TOKEN}\n` })
    assert.equal(piped.exit, 0, piped.err)
    host.operator.cluster = null
    const forged = await host.cli(['cluster', 'join', 'forged'])
    assert.deepEqual([forged.exit, forged.err.startsWith('error: invite_invalid: ')], [6, true])
    const outside = await host.cli(['cluster', 'status'])
    assert.deepEqual([outside.exit, outside.err.startsWith('error: not_in_cluster: ')], [5, true])
    assert.equal((await host.cli(['cluster', 'join', '-'], { input: '' })).exit, 2)
  })

  it('of every command is a JSON array for lists, a JSON object for the rest, on one line, and nothing on stderr', async () => {
    const { id } = (await host.cli(['services', 'create', '--target-peer', 'edge-b', '-j'])).json
    for (const [args, array] of [
      ['peers list', true],
      ['services list', true],
      ['routes list', true],
      ['cluster status', false],
      ['cluster sync', false],
      ['peers get edge-b', false],
      [`services get ${id}`, false],
      ['status', false],
      ['actors tree', false]
    ] as const) {
      const ran = await host.cli([...args.split(' '), '-j'])
      assert.deepEqual([ran.exit, ran.err, Array.isArray(ran.json)], [0, '', array], args)
      assert.equal(typeof ran.json, 'object')
      assert.equal(ran.out.indexOf('\n'), ran.out.length - 1)
      const pretty = await host.cli([...args.split(' '), '-j'], { terminal: '' })
      assert.deepEqual(Object.keys(pretty.json), Object.keys(ran.json))
      const yaml = await host.cli([...args.split(' '), '-o', 'yaml'])
      assert.deepEqual(Object.keys(parseYaml(yaml.out)), Object.keys(ran.json))
      const human = await host.cli(args.split(' '))
      assert.ok(human.exit === 0 && human.out.endsWith('\n') && human.err === '', args)
    }
  })

  it('comes as names or as an object per line for scripts, and names are taken back', async () => {
    const { id } = (await host.cli(['services', 'create', '--target-peer', 'edge-b', '-j'])).json
    const name = (await host.cli(['services', 'list', '-o', 'name'])).out
    assert.equal(name, `service/${id}\n`)
    assert.equal((await host.cli(['services', 'get', name.trim(), '-j'])).json.id, id)
    assert.equal((await host.cli(['peers', 'get', `peer/${EDGE_B}`, '-j'])).json.id, EDGE_B)
    const routes = await host.cli([
      'routes',
      'add',
      '--service',
      name.trim(),
      '--dest-cidr',
      '10.2.0.0/24',
      '-o',
      'name'
    ])
    assert.match(routes.out, /^route\/01\w+\n$/)
    const gone = await host.cli(['routes', 'delete', `--service=${name.trim()}`, '--route', routes.out.trim(), '--yes'])
    assert.equal(gone.exit, 0)
    const [change] = (await host.cli(['cluster', 'history', '-o', 'name'])).out.split('\n')
    assert.match(change ?? '', /^change\/[0-9a-f]{64}$/)
    assert.equal((await host.cli(['cluster', 'undo', change ?? ''])).exit, 0)
    const lines = (await host.cli(['peers', 'list', '-o', 'jsonl'])).out.trimEnd().split('\n')
    assert.deepEqual(
      lines.map((line) => JSON.parse(line).name),
      ['edge-a', 'edge-b']
    )
    assert.equal(JSON.parse((await host.cli(['status', '-o', 'jsonl'])).out).peer.name, 'edge-a')
    const nameless = await host.cli(['cluster', 'sync', '-o', 'name'])
    assert.deepEqual([nameless.exit, nameless.out], [2, ''])
    assert.match(nameless.err, /has no names/)
    const failed = await host.cli(['services', 'get', 'none', '-o', 'jsonl'])
    assert.equal(JSON.parse(failed.err).error.code, 'service_not_found')
  })

  it('is wide when asked for: all columns, whole ids', async () => {
    const { id } = (await host.cli(['services', 'create', '--target-peer', 'edge-b', '--name', 'web', '-j'])).json
    await host.cli(['routes', 'add', '--service', id, '--dest-cidr', '10.2.0.0/24'])
    for (const [noun, head, cell] of [
      ['services', 'REASON', 'DataplaneDisabled'],
      ['routes', 'SERVICE NAME', 'web'],
      ['peers', 'ADDRESSES', EDGE_B]
    ] as const) {
      const narrow = (await host.cli([noun, 'list'])).out
      const wide = (await host.cli([noun, 'list', '-o', 'wide'])).out
      assert.ok(wide.includes(head) && wide.includes(cell), wide)
      assert.ok(!narrow.includes(head) && !narrow.includes(cell), narrow)
    }
  })

  it('of peers is admitted ones unless all are asked for; a peer is found by name, id and prefix', async () => {
    assert.equal((await host.cli(['peers', 'list', '-j'])).json.length, 2)
    assert.equal((await host.cli(['peer', 'list', '--all', '-j'])).json.length, 3)
    for (const name of ['edge-b', EDGE_B, EDGE_B.slice(0, 16)]) {
      assert.equal((await host.cli(['peers', 'get', name, '-j'])).json.id, EDGE_B)
    }
    assert.equal((await host.cli(['peers', 'get', EDGE_C, '-j'])).json.state, 'discovered')
    for (const name of ['nobody', '../../status', 'a/b?c=d', '12D3KooW']) {
      const missing = await host.cli(['peers', 'get', name])
      assert.deepEqual([missing.exit, missing.err.startsWith('error: peer_not_found: ')], [4, true], name)
    }
  })

  it('has colours on a terminal only, unless NO_COLOR says otherwise', async () => {
    assert.ok((await host.cli(['peers', 'list'], { terminal: '' })).out.includes('\u001B[32madmitted'))
    const plain: CliOptions[] = [{}, { terminal: '', env: { NO_COLOR: '1' } }, { terminal: '', env: { TERM: 'dumb' } }]
    for (const options of plain) {
      const { out } = await host.cli(['peers', 'list'], options)
      assert.ok(out.includes('admitted') && !out.includes('\u001B'))
    }
  })

  it('aligns columns and shows control characters instead of obeying them', () => {
    assert.equal(
      table(
        ['NAME', 'ID'],
        [
          ['ä', '1'],
          ['longer', { text: '\u001B[2J\nx', colour: 'red' }]
        ],
        false
      ),
      'NAME    ID\nä       1\nlonger  \\u001b[2J\\u000ax\n'
    )
  })

  it('reads well in tables', () => {
    assert.deepEqual([0, 1023, 1024, 1536, 1024 ** 2 * 150, 1024 ** 3].map(bytes), [
      '0 B',
      '1023 B',
      '1.0 KiB',
      '1.5 KiB',
      '150 MiB',
      '1.0 GiB'
    ])
    assert.deepEqual([-5, 0, 59.9, 60, 3723, 90_061, 86_400].map(duration), [
      '0s',
      '0s',
      '59s',
      '1m',
      '1h 2m',
      '1d 1h',
      '1d'
    ])
    assert.deepEqual([age(null, 0), age('nonsense', 0), age('1970-01-01T00:00:00.000Z', 61_000)], ['-', '-', '1m 1s'])
  })

  describe('before it deletes', () => {
    it('asks on a terminal and takes only a yes for one', async () => {
      const { id } = (await host.ask('POST', '/v1/services', { target_peer_id: 'edge-b' })).json
      for (const terminal of ['n\n', '\n', '', 'maybe\n', 'yesterday\n']) {
        const kept = await host.cli(['services', 'delete', id], { terminal })
        assert.deepEqual([kept.exit, kept.out], [1, ''], JSON.stringify(terminal))
        assert.match(kept.err, new RegExp(`^Delete service ${id} and its routes\\? \\[y/N\\] nothing was deleted\\n`))
      }
      assert.equal(host.operator.services.size, 1)
      const gone = await host.cli(['services', 'delete', id], { terminal: 'Y\n' })
      assert.deepEqual([gone.exit, gone.out], [0, `service ${id} deleted\n`])
      assert.equal(host.operator.services.size, 0)
    })

    it('refuses without a terminal and without --yes, with exit 2, and has asked nobody', async () => {
      const { id } = (await host.ask('POST', '/v1/services', { target_peer_id: 'edge-b' })).json
      const ran = await host.cli(['services', 'delete', id], { input: 'y\n' })
      assert.deepEqual([ran.exit, ran.out, host.operator.services.size], [2, '', 1])
    })
  })

  describe('with --watch', () => {
    const until = async (met: () => boolean): Promise<void> => {
      for (let tries = 0; !met(); tries++) {
        assert.ok(tries < 400, 'it happens within 2 s')
        await systemClock.sleep(5)
      }
    }
    const lines = (text: string): unknown[] =>
      text
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line))

    it('prints the list again after every change of it, and Ctrl-C exits 0', async () => {
      const watch = host.startCli(['services', 'list', '--watch', '-j'])
      await until(() => lines(watch.printed()).length === 1)
      const { id } = (await host.ask('POST', '/v1/services', { target_peer_id: 'edge-b' })).json
      await until(() => lines(watch.printed()).length === 2)
      host.operator.emit('service.status', { id })
      host.operator.emit('route.created', { id })
      await host.ask('DELETE', `/v1/services/${id}`)
      await until(() => lines(watch.printed()).length === 3)
      watch.interrupt()
      const { exit, out, err } = await watch.done
      assert.deepEqual([exit, err], [0, ''])
      assert.deepEqual(
        lines(out).map((list) => (list as Array<{ id: string }>).map((service) => service.id)),
        [[], [id], []]
      )
    })

    it('makes of a burst few prints, the last of which is the truth', async () => {
      const watch = host.startCli(['services', 'list', '--watch', '-j'])
      await until(() => watch.printed() !== '')
      for (let n = 0; n < 40; n++) await host.ask('POST', '/v1/services', { target_peer_id: 'edge-b', name: `s${n}` })
      await until(() => (lines(watch.printed()).at(-1) as unknown[]).length === 40)
      watch.interrupt()
      const { out } = await watch.done
      assert.ok(lines(out).length < 20, `${lines(out).length} prints`)
    })

    it('says that the agent is gone, exit 3, when it ends in the middle of an answer', async () => {
      const sockets: Socket[] = []
      const before = createServer((near) => {
        const far = connect(host.socket)
        sockets.push(near, far)
        for (const socket of [near, far]) socket.on('error', () => {})
        near.pipe(far).pipe(near)
      })
      const path = `${host.socket}.before`
      await once(before.listen(path), 'listening')
      try {
        const watch = host.startCli(['services', 'list', '--watch'], { env: { ARCTIC_SOCKET: path } })
        await until(() => watch.printed() !== '')
        for (const socket of sockets) socket.destroy()
        const { exit, err } = await watch.done
        assert.equal(exit, 3)
        assert.match(err, /^error: unavailable: .*broke off.*when the agent is back\n$/)
      } finally {
        before.close()
      }
    })

    it('works for every list and every format', async () => {
      const isList = (verb = ''): boolean => ['list', 'history'].includes(verb)
      const lists = COMMANDS.filter(({ words, local, run }) => isList(words[1]) && run != null && local !== true)
      assert.ok(lists.length >= 5)
      for (const { words } of lists) {
        const watch = host.startCli([...words, '--watch'])
        await until(() => /\b(ID|CHANGE|no change fits)\b/.test(watch.printed()))
        watch.interrupt()
        assert.equal((await watch.done).exit, 0)
      }
      const watch = host.startCli(['services', 'list', '--watch', '-o', 'yaml'])
      await until(() => watch.printed() !== '')
      await host.ask('POST', '/v1/services', { target_peer_id: 'edge-b' })
      await until(() => watch.printed().includes('---'))
      watch.interrupt()
      const documents = parseAllDocuments((await watch.done).out)
      assert.equal(documents.length, 2)
    })

    it('says when the agent ends, with exit 3', async () => {
      const watch = host.startCli(['services', 'list', '--watch', '-j'])
      await until(() => watch.printed() !== '')
      await host.http.stop()
      const { exit, err } = await watch.done
      assert.deepEqual([exit, JSON.parse(err).error.code], [3, 'unavailable'])
    })

    it('says that it cannot, before printing anything, when no agent is there', async () => {
      const ran = await host.cli(['services', 'list', '--watch', '--socket', '/nonexistent/s'])
      assert.deepEqual([ran.exit, ran.out], [3, ''])
    })
  })
})
