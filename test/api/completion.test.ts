import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { COMMANDS } from '../../src/api/cli/commands.ts'
import { explainable } from '../../src/api/cli/explain.ts'
import { ApiHost, runCaptured } from './api-host.ts'
import { EDGE_B, EDGE_C } from './memory-operator.ts'

describe('cli: completion', () => {
  let host: ApiHost
  let service: string
  let route: string
  before(async () => {
    host = await ApiHost.start()
    service = (await host.ask('POST', '/v1/services', { target_peer_id: 'edge-b', name: 'web' })).json.id
    const routes = [{ dest_cidr: '10.2.0.0/24' }]
    route = (await host.ask('POST', `/v1/services/${service}/routes`, { routes })).json[0].id
  })
  after(async () => {
    await host.stop()
    assert.deepEqual(host.errors, [])
  })
  const complete = async (line: string): Promise<string[]> => {
    const { exit, out, err } = await host.cli(['__complete', '--', ...line.split(' ')])
    assert.deepEqual([exit, err], [0, ''])
    return out
      .split('\n')
      .filter((candidate) => candidate !== '')
      .map((candidate) => candidate.split('\t')[0]!)
  }

  it('knows commands, flags, choices and what the agent has', async () => {
    const cases: Array<[line: string, candidates: string[]]> = [
      ['serv', ['services']],
      ['app', ['apply']],
      ['service cr', ['create']],
      ['routes ', ['add', 'list', 'update', 'delete', 'test']],
      ['help routes te', ['test']],
      ['services create --tr', ['--transport']],
      ['services create --no-req', ['--no-requires-interface']],
      ['services create --transport ', ['tcp', 'kcp']],
      ['services create --transport=k', ['--transport=kcp']],
      ['services create --transport = k', ['kcp']],
      ['services list -o js', ['json', 'jsonl']],
      ['peers role edge-b ', ['member', 'admin']],
      ['services create --target-peer edge-', ['edge-a', 'edge-b', 'edge-c']],
      ['services get ', [service]],
      ['-j services get ', [service]],
      ['services get --if-match x ', [service]],
      [`services get ${service} `, []],
      ['routes add --service ', [service]],
      [`routes delete --service ${service} --route `, [route]],
      ['peers get edge-b', ['edge-b']],
      ['apply -f ', [':file']],
      ['completion ', ['bash', 'zsh', 'fish']],
      ['explain serv', ['service']],
      ['services create --name ', []],
      ['nonsense ', []]
    ]
    for (const [line, candidates] of cases) assert.deepEqual(await complete(line), candidates, line)
    assert.ok((await complete('')).includes('cluster'))
    assert.ok((await complete('status --')).includes('--json'))
    assert.ok(!(await complete('status --json --')).includes('--json'))
  })

  it('does without an agent, quickly and quietly', async () => {
    const ran = await runCaptured(['__complete', '--', 'services', 'get', ''], {
      env: { ARCTIC_SOCKET: '/nonexistent' }
    })
    assert.deepEqual(ran, { exit: 0, out: '', err: '', json: undefined })
  })

  it('offers the id of a peer whose name a shell would read as more than a name', async () => {
    const { listPeers } = { listPeers: host.operator.listPeers.bind(host.operator) }
    const evil = ['$(reboot)', 'a b', '`id`', 'x;y', 'é\n']
    host.operator.listPeers = async (input) =>
      (await listPeers(input)).map((peer, index) => ({ ...peer, name: evil[index] ?? peer.name }))
    const offered = await complete('peers get ')
    Reflect.deleteProperty(host.operator, 'listPeers')
    assert.equal(offered.length, 3)
    assert.ok(offered.includes(EDGE_B) && offered.includes(EDGE_C))
  })

  it('has a live list behind every argument that is an id', () => {
    for (const { words, args = [], flags = [] } of COMMANDS) {
      for (const { name, live } of args) if (name === 'ID' || name === 'PEER') assert.ok(live, words.join(' '))
      for (const { name, live } of flags) if (/^(service|route|.*-peer)$/.test(name)) assert.ok(live, words.join(' '))
    }
  })

  it('works in bash, names with blanks in paths included', async function () {
    if (!existsSync('/bin/bash')) {
      assert.equal(process.env['CI'], undefined, 'bash is missing')
      return this.skip()
    }
    const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url))
    const { out: script } = await runCaptured(['completion', 'bash'])
    const command = join(host.directory, 'arctic')
    writeFileSync(command, `#!/bin/sh\nexec ${process.execPath} ${main} "$@"\n`, { mode: 0o755 })
    writeFileSync(join(host.directory, 'my mesh.yaml'), '')
    const bash = async (...words: string[]): Promise<string[]> => {
      const child = spawn(
        '/bin/bash',
        [
          '--norc',
          '-c',
          `compopt() { :; }\n${script}\nCOMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _arctic; printf '%s\\n' "\${COMPREPLY[@]}"`,
          'bash',
          command,
          ...words
        ],
        {
          env: { PATH: process.env['PATH'], ARCTIC_SOCKET: host.socket },
          cwd: host.directory,
          stdio: ['ignore', 'pipe', 'inherit']
        }
      )
      const [out] = await Promise.all([text(child.stdout), once(child, 'exit')])
      return out.split('\n').filter((line) => line !== '')
    }
    assert.deepEqual(await bash('services', 'get', ''), [service])
    assert.deepEqual(await bash('routes', 'li'), ['list'])
    assert.deepEqual(await bash('apply', '-f', 'my'), ['my mesh.yaml'])
  }).timeout(20_000)

  it('has a script for three shells and no other', async () => {
    for (const shell of ['bash', 'zsh', 'fish']) {
      const { exit, out } = await runCaptured(['completion', shell])
      assert.deepEqual([exit, out.includes('__complete --')], [0, true])
    }
    const other = await runCaptured(['completion', 'tcsh'])
    assert.deepEqual([other.exit, /there is bash, zsh, fish/.test(other.err)], [2, true])
  })
})

describe('cli: explain', () => {
  it('says of every object what its fields are, without an agent', async () => {
    for (const object of explainable()) {
      const { exit, json, out } = await runCaptured(['explain', object, '-j'], {
        env: { ARCTIC_SOCKET: '/nonexistent' }
      })
      assert.equal(exit, 0, object)
      assert.ok((json.fields ?? json.codes).length > 0, out)
      for (const { field, type } of json.fields ?? []) assert.ok(field !== '' && !/any|undefined/.test(type), out)
    }
  })

  it('tells who sets a field and what it takes, and goes into objects and lists', async () => {
    const fields = async (path: string) => {
      const { json } = await runCaptured(['explain', path, '-j'])
      return new Map<string, { type: string; set: string[]; required: boolean; description: string }>(
        json.fields.map((one: { field: string }) => [one.field, one])
      )
    }
    const service = await fields('services')
    const plain = ({ type, set, required }: { type: string; set: string[]; required: boolean }) => [type, set, required]
    assert.deepEqual(plain(service.get('target_peer_id')!), ['string', ['create'], true])
    assert.deepEqual(plain(service.get('transport_type')!), ['tcp | kcp', ['create', 'update'], false])
    assert.deepEqual(plain(service.get('id')!), ['string', [], false])
    assert.match(service.get('bandwidth_limit_mbps')!.type, /^number 0…/)
    assert.deepEqual(
      [...(await fields('service.status.conditions')).keys()],
      ['type', 'status', 'reason', 'message', 'since']
    )
    assert.deepEqual([...(await fields('mesh.services.routes')).keys()], ['source_cidr', 'dest_cidr', 'priority'])
    assert.match((await fields('route.priority')).get('priority')!.description, /higher wins/)
  })

  it('knows the codes of failures, and what was probably meant', async () => {
    assert.match((await runCaptured(['explain', 'errors'])).out, /^invalid_cidr +400 +2$/m)
    for (const [path, message] of [
      ['servise', /did you mean "service"/],
      ['service.stauts', /did you mean "status"/],
      ['toString', /known are service, route/],
      ['service.__proto__', /unknown field/]
    ] as const) {
      const { exit, err } = await runCaptured(['explain', path])
      assert.deepEqual([exit, message.test(err)], [2, true], err)
    }
  })
})
