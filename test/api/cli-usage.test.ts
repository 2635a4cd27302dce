import assert from 'node:assert/strict'
import { COMMANDS, GLOBAL_FLAGS } from '../../src/api/cli/commands.ts'
import { runCaptured } from './api-host.ts'

/** A socket that nobody listens on: whatever gets past the parser ends with exit 3. */
const env = { ARCTIC_SOCKET: '/nonexistent/arctic.sock' }

describe('cli: usage', () => {
  it('that is wrong exits 2 with one line that says what is wrong, what was meant, and where to look', async () => {
    const cases: Array<[args: string, message: RegExp, help: string]> = [
      ['', /no command is given/, 'arctic --help'],
      [
        'services list -o tabel',
        /--output "tabel" is not one of table, .*; did you mean "table"\?/,
        'arctic services list --help'
      ],
      ['servces list', /unknown command "servces"; did you mean "services"\?/, 'arctic --help'],
      ['xyzzy', /unknown command "xyzzy"/, 'arctic --help'],
      ['services', /"services" needs one of create, list, get, update, delete/, 'arctic services --help'],
      ['service crate', /unknown command "services crate"; did you mean "create"\?/, 'arctic services --help'],
      ['tokenz list', /unknown command "tokenz"; did you mean "tokens"\?/, 'arctic --help'],
      ['services create', /--target-peer PEER is missing/, 'arctic services create --help'],
      ['services create --target-peer', /--target-peer needs a value/, 'arctic services create --help'],
      ['services create --target-peer --name x', /--target-peer needs a value/, 'arctic services create --help'],
      [
        'services create --target-peer b --bandwith-limit 5',
        /unknown flag "--bandwith-limit"; did you mean "--bandwidth-limit"\?/,
        'arctic services create --help'
      ],
      [
        'services create --target-peer b --transport udp',
        /--transport "udp" is not one of tcp, kcp/,
        'arctic services create --help'
      ],
      [
        'services create --target-peer b --bandwidth-limit fast',
        /--bandwidth-limit "fast" is not a number/,
        'arctic services create --help'
      ],
      [
        'services create --target-peer b --fully-transparent=yes',
        /--fully-transparent "yes" is not true or false/,
        'arctic services create --help'
      ],
      [
        'services update X --requires-interface false',
        /unexpected argument "false"; a switch takes its value as --FLAG=false/,
        'arctic services update --help'
      ],
      ['services update X', /nothing to change is given/, 'arctic services update --help'],
      ['services get', /ID is missing/, 'arctic services get --help'],
      ['services get a b', /unexpected argument "b"/, 'arctic services get --help'],
      ['services delete X', /no terminal to ask on; add --yes/, 'arctic services delete --help'],
      ['routes add --dest-cidr 10.0.0.0/8', /--service ID is missing/, 'arctic routes add --help'],
      ['routes add --service S --priority high', /--priority "high" is not a whole number/, 'arctic routes add --help'],
      ['routes add --service S --priority 1.5', /is not a whole number/, 'arctic routes add --help'],
      ['routes add --service S --priority 1 --priority 2', /--priority is given twice/, 'arctic routes add --help'],
      ['routes update --service S', /--route ID is missing/, 'arctic routes update --help'],
      ['routes test --source 10.0.0.1', /--dest IP is missing/, 'arctic routes test --help'],
      [
        'cluster invite --ttl 5x',
        /--ttl "5x" is not a duration such as 30s, 15m, 1h or 90d/,
        'arctic cluster invite --help'
      ],
      ['cluster invite --uses two', /--uses "two" is not a whole number/, 'arctic cluster invite --help'],
      ['cluster invite --role root', /--role "root" is not one of member, admin/, 'arctic cluster invite --help'],
      ['cluster join', /TOKEN is missing/, 'arctic cluster join --help'],
      [
        'services update web --target-peer b',
        /the peers of a service cannot be changed/,
        'arctic services update --help'
      ],
      ['services update web --source-peer=b', /delete it and create one/, 'arctic services update --help'],
      ['status --watch', /unknown flag "--watch"/, 'arctic status --help'],
      ['status -o xml', /--output "xml" is not one of table, wide, json, yaml, name, jsonl/, 'arctic status --help'],
      ['status --socket /a --api http://b', /name two agents/, 'arctic --help'],
      ['status --api ftp://host', /is not a URL/, 'arctic --help'],
      ['status --token x', /--token is for --api/, 'arctic --help'],
      ['help servces', /unknown command "servces"/, 'arctic --help'],
      ['--socket /a agent', /"agent" must be the first word/, 'arctic agent --help']
    ]
    for (const [args, message, help] of cases) {
      const argv = args === '' ? [] : args.split(' ')
      const told = await runCaptured(argv, { env })
      assert.deepEqual([told.exit, told.out], [2, ''], args)
      assert.match(told.err, /^error: invalid_request: [^\n]+\n$/, args)
      assert.match(told.err, message)
      assert.ok(told.err.endsWith(`; see "${help}"\n`), told.err)

      if (argv.includes('-o') || argv.includes('-j')) continue
      const json = await runCaptured([...argv, '-j'], { env })
      assert.deepEqual([json.exit, json.out], [2, ''], args)
      const { error } = JSON.parse(json.err)
      assert.deepEqual([error.code, typeof error.message, error.details], ['invalid_request', 'string', {}])
    }
  })

  it('of two output formats at once is refused', async () => {
    const ran = await runCaptured(['status', '-j', '-o', 'yaml'], { env })
    assert.equal(ran.exit, 2)
    assert.match(JSON.parse(ran.err).error.message, /-j and -o yaml contradict each other/)
  })

  it('takes global flags before, between and after the words', async () => {
    for (const args of [
      '-j status',
      'status -j',
      'status --json',
      '-o json status',
      'status --output=json',
      'status -o=json',
      'status -ojson',
      'cluster -j sync'
    ]) {
      const ran = await runCaptured(args.split(' '), { env })
      assert.equal(ran.exit, 3, args)
      assert.equal(JSON.parse(ran.err).error.code, 'unavailable', args)
    }
  })

  it('finds the agent by flag, then environment, then default, and says where it looked', async () => {
    const where = async (args: string[], environment: Record<string, string>): Promise<string> => {
      const { error } = JSON.parse((await runCaptured([...args, '-j', 'status'], { env: environment })).err)
      return error.details.socket ?? error.details.api
    }
    assert.equal(await where([], {}), '/run/arctic/agent.sock')
    assert.equal(await where([], { ARCTIC_SOCKET: '' }), '/run/arctic/agent.sock')
    assert.equal(await where([], { ARCTIC_SOCKET: '/nonexistent/e' }), '/nonexistent/e')
    assert.equal(await where(['--socket', '/nonexistent/f'], { ARCTIC_SOCKET: '/nonexistent/e' }), '/nonexistent/f')
    assert.equal(await where([], { ARCTIC_API: 'http://127.0.0.1:1' }), 'http://127.0.0.1:1/')
    assert.equal(await where(['--api', '127.0.0.1:1'], { ARCTIC_SOCKET: '/nonexistent/e' }), 'http://127.0.0.1:1/')
    assert.equal(await where(['--socket', '/nonexistent/f'], { ARCTIC_API: 'http://127.0.0.1:1' }), '/nonexistent/f')
  })

  it('shows help on stdout for everything, a noun, and every command', async () => {
    const overview = await runCaptured(['--help'])
    assert.deepEqual([overview.exit, overview.err], [0, ''])
    for (const command of COMMANDS) {
      assert.ok(overview.out.includes(`  ${command.words.join(' ')}`), command.words.join(' '))
      for (const argv of [
        [...command.words, '--help'],
        ['help', ...command.words],
        ['-h', ...command.words]
      ]) {
        const { exit, out } = await runCaptured(argv)
        assert.equal(exit, 0)
        assert.ok(out.startsWith(`${command.summary}\n\nUsage: arctic ${command.words.join(' ')}`), out)
        for (const flag of command.flags ?? []) assert.match(out, new RegExp(`--(\\[no-\\])?${flag.name}\\b`))
      }
    }
    const noun = await runCaptured(['route', '--help'])
    assert.match(noun.out, /^Usage: arctic routes COMMAND/)
    assert.match((await runCaptured(['agent', '--help'])).out, /--mesh-listen MULTIADDR/)
    assert.match((await runCaptured(['--version'])).out, /^arctic \d+\.\d+\.\d+\n$/)
  })

  it('has flags that mean the same wherever they stand', () => {
    const kinds = new Map<string, boolean>(GLOBAL_FLAGS.map(({ name, kind }) => [name, kind === 'boolean']))
    for (const { words, flags = [] } of COMMANDS) {
      // `arctic agent` parses its own, in src/config.ts.
      if (words[0] === 'agent') continue
      assert.equal(new Set(flags.map(({ name }) => name)).size, flags.length, words.join(' '))
      for (const { name, kind } of flags) {
        assert.equal(kinds.get(name) ?? kind === 'boolean', kind === 'boolean', `--${name} of ${words.join(' ')}`)
        kinds.set(name, kind === 'boolean')
      }
    }
  })
})
