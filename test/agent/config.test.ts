import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { readAgentConfig } from '../../src/config.ts'
import { ArcticError } from '../../src/errors.ts'
import { yamlTexts } from '../yaml-corpus.ts'

describe('agent configuration', () => {
  let dir: string
  const file = (content: string): string => {
    const path = join(dir, 'agent.yaml')
    writeFileSync(path, content)
    return path
  }
  const read = (argv: string[], environment: NodeJS.ProcessEnv = {}) =>
    readAgentConfig(argv, environment, { terminal: false })
  const refused = (run: () => unknown, ...parts: RegExp[]): void => {
    assert.throws(run, (error: Error & { code: string }) => {
      assert.equal(error.code, 'invalid_request')
      for (const part of parts) assert.match(error.message, part)
      return true
    })
  }

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'arctic-config-'))
  })
  afterEach(() => rmSync(dir, { recursive: true }))

  it('has the defaults of the contract', () => {
    const config = read(['--name', 'a'])
    assert.deepEqual(config, {
      configFile: null,
      stateDir: '/var/lib/arctic',
      socket: '/run/arctic/agent.sock',
      apiListen: '127.0.0.1:8080',
      apiCert: null,
      apiKey: null,
      apiPlain: false,
      meshListen: ['/ip4/0.0.0.0/tcp/7946'],
      dataListen: '0.0.0.0:7947',
      advertise: [],
      name: 'a',
      dataplane: 'kernel',
      kcpCongestionControl: true,
      logLevel: 'info',
      logFormat: 'json',
      drainMs: 10_000,
      keyMaxAgeMs: 30 * 86_400_000,
      keyOverlapMs: 86_400_000,
      license: null,
      licenseKey: null
    })
  })

  it('refuses in the file what is no single value, and text that nobody can be sure of', () => {
    const config = (content: string | Buffer): (() => unknown) => {
      writeFileSync(join(dir, 'agent.yaml'), content)
      return () => read(['--config', join(dir, 'agent.yaml')])
    }
    refused(config('name: [a, b]'), /config file key name takes one value, not a list/)
    refused(config('name: {x: y}'), /config file key name must be a word or a number/)
    refused(config('name: &a {a: *a}'), /config file key name must be a word or a number/)
    refused(config('advertise: [null]'), /config file key advertise must be a word or a number/)
    refused(config(Buffer.from('name: "\xff"', 'latin1')), /agent.yaml is not UTF-8/)
    refused(config('name: a\n---\nname: b'), /agent.yaml holds several documents; keep one/)
  })

  it('refuses at once a name that a cluster would refuse', () => {
    refused(() => read(['--name', '12D3KooWx']), /--name "12D3KooWx" looks like a peer id/)
    refused(() => read(['--name', 'a\u200bb']), /is not a peer name/)
    refused(() => read(['--name', 'x'.repeat(64)]), /1 to 63 characters/)
  })

  it('says in one line that a flag lacks its value', () => {
    refused(
      () => read(['--drain-timeout', '-5s']),
      /^[^\n]*'--drain-timeout' argument is ambiguous; see "arctic agent --help"$/
    )
  })

  it('knows when keys are changed, and refuses a change that the next one would overtake', () => {
    const keys = (argv: string[]): unknown => {
      const { keyMaxAgeMs, keyOverlapMs } = read(['--name', 'a', ...argv])
      return [keyMaxAgeMs, keyOverlapMs]
    }
    assert.deepEqual(keys(['--key-max-age', '7d', '--key-overlap', '2h']), [7 * 86_400_000, 2 * 3_600_000])
    assert.deepEqual(keys(['--key-max-age', 'off', '--key-overlap', '90d']), [null, 90 * 86_400_000])
    refused(() => keys(['--key-max-age', '1h', '--key-overlap', '1h']), /--key-max-age.*longer than --key-overlap/)
    refused(() => keys(['--key-max-age', 'never']), /--key-max-age "never" is not a duration/)
  })

  it('reads any file, or says in one line why not', function () {
    this.timeout(30_000)
    const right = [
      'name: edge-a\nlog_level: warn\ndrain_timeout: 3s\n',
      'mesh_listen: [/ip4/127.0.0.1/tcp/7000]\nadvertise:\n  - 10.0.0.1\ndataplane: none\n'
    ]
    let read_ = 0
    let refused_ = 0
    fc.assert(
      fc.property(yamlTexts(right), (text) => {
        const path = file(text)
        try {
          const config = read(['--config', path, '--name', 'a'])
          assert.ok(config.meshListen.length > 0 && Number.isFinite(config.drainMs))
          read_++
        } catch (error) {
          assert.ok(error instanceof ArcticError && error.code === 'invalid_request', String(error))
          assert.ok(error.message.length > 0 && !error.message.includes('\n'), error.message)
          refused_++
        }
      }),
      { numRuns: 500 }
    )
    assert.ok(read_ > 10 && refused_ > 10, `${read_} read, ${refused_} refused`)
  })

  it('names an unknown key in one line, whatever it is', () => {
    for (const text of ['? [a,]: c\n', '"two\\nlines": 1\n']) {
      refused(
        () => read(['--config', file(text), '--name', 'a']),
        /^config file \S+ has an unknown key "[^\n]*"; known are [^\n]*$/
      )
    }
  })

  it('takes flag over environment over file over default, setting by setting', () => {
    const path = file('name: from-file\nlog_level: debug\ndata_listen: 10.0.0.1:1\nadvertise: [10.0.0.1, 10.0.0.2]\n')
    const config = read(['--config', path, '--name', 'from-flag'], {
      ARCTIC_NAME: 'from-env',
      ARCTIC_LOG_LEVEL: 'warn'
    })
    assert.equal(config.name, 'from-flag')
    assert.equal(config.logLevel, 'warn')
    assert.equal(config.dataListen, '10.0.0.1:1')
    assert.deepEqual(config.advertise, ['10.0.0.1', '10.0.0.2'])
    assert.equal(config.configFile, path)
  })

  it('takes repeated flags and comma-separated variables as lists', () => {
    assert.deepEqual(read(['--advertise', '10.0.0.1', '--advertise', 'fd00::1']).advertise, ['10.0.0.1', 'fd00::1'])
    assert.deepEqual(read([], { ARCTIC_ADVERTISE: '10.0.0.1, fd00::1' }).advertise, ['10.0.0.1', 'fd00::1'])
  })

  it('switches the TCP API off in every spelling', () => {
    for (const off of ['off', 'false']) assert.equal(read(['--config', file(`api_listen: ${off}\n`)]).apiListen, null)
    assert.equal(read(['--api-listen', 'off']).apiListen, null)
  })

  it('switches the congestion control of KCP in every place', () => {
    assert.equal(read(['--kcp-congestion-control', 'off']).kcpCongestionControl, false)
    assert.equal(read([], { ARCTIC_KCP_CONGESTION_CONTROL: 'off' }).kcpCongestionControl, false)
    assert.equal(read(['--config', file('kcp_congestion_control: false\n')]).kcpCongestionControl, false)
  })

  it('takes a certificate with its key only, and plain HTTP in every spelling', () => {
    const pair = read(['--api-cert', '/c.pem'], { ARCTIC_API_KEY: '/k.pem' })
    assert.deepEqual([pair.apiCert, pair.apiKey], ['/c.pem', '/k.pem'])
    refused(() => read(['--api-cert', '/c.pem']), /--api-cert needs --api-key too/)
    refused(() => read([], { ARCTIC_API_KEY: '/k.pem' }), /--api-key needs --api-cert too/)
    assert.equal(read(['--api-plain']).apiPlain, true)
    for (const on of ['on', 'true', '1']) assert.equal(read([], { ARCTIC_API_PLAIN: on }).apiPlain, true)
    for (const value of [true, false]) {
      assert.equal(read(['--config', file(`api_plain: ${value}\n`)]).apiPlain, value)
    }
    refused(() => read([], { ARCTIC_API_PLAIN: 'maybe' }), /ARCTIC_API_PLAIN "maybe" is not one of on, off/)
  })

  it('says which place is wrong and what would be right', () => {
    refused(() => read(['--colour', 'blue']), /--colour/, /arctic agent --help/)
    refused(() => read(['--dataplane', 'magic']), /--dataplane "magic"/, /kernel, none/)
    refused(() => read([], { ARCTIC_DATA_LISTEN: '7947' }), /ARCTIC_DATA_LISTEN "7947"/, /HOST:PORT/)
    refused(() => read(['--data-listen', '0.0.0.0:70000']), /70000/)
    refused(() => read(['--mesh-listen', '0.0.0.0:7946']), /multiaddr/, /\/ip4\/0\.0\.0\.0\/tcp\/7946/)
    refused(() => read(['--name', 'two words']), /two words/)
    refused(() => read(['--config', join(dir, 'none.yaml')]), /none\.yaml/, /ENOENT/)
    refused(() => read(['--config', file('state-dir: /tmp\n')]), /unknown key "state-dir"/, /state_dir/)
    refused(() => read(['--config', file('a: [\n')]), /not YAML/)
    refused(() => read(['--config', file('drain_timeout: soon\n')]), /drain_timeout "soon"/, /10s/)
  })
})
