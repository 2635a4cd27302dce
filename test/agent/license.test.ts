import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock, type Clock } from '../../src/clock.ts'
import { signerFromSeed } from '../../src/crdt/signer.ts'
import { sealLicense, type License } from '../../src/license.ts'
import { LicenseFile } from '../../src/license-file.ts'
import { licenseBytesMax } from '../../src/limits.ts'
import { silentLogger } from '../../src/log.ts'

describe('licence', function () {
  this.timeout(20_000)
  const issuer = signerFromSeed(new Uint8Array(32).fill(7))
  const stranger = signerFromSeed(new Uint8Array(32).fill(8))
  const good: License = {
    id: '01J00000000000000000000000',
    holder: 'Acme',
    edition: 'enterprise',
    limits: { services: 3 },
    issued_at: '2026-01-01T00:00:00.000Z',
    expires_at: '2126-01-01T00:00:00.000Z'
  }
  const text = sealLicense(good, issuer)
  let stateDir: string
  let now: number
  const clock: Clock = { ...systemClock, now: () => now }
  beforeEach(() => {
    stateDir = mkdtempSync(join(tmpdir(), 'arctic-license-'))
    now = Date.parse('2026-06-01')
  })
  afterEach(() => rmSync(stateDir, { recursive: true, force: true }))

  const open = (
    content: string | null,
    { key = issuer.publicKey as Uint8Array | null, file = null as string | null } = {}
  ) => {
    if (content != null) writeFileSync(join(stateDir, 'license.json'), content)
    return new LicenseFile({ file, key, stateDir }, { clock, log: silentLogger })
  }

  it('that is good counts, however its file is laid out', () => {
    const path = join(stateDir, 'license.json')
    assert.deepEqual(open(text).state, { license: good, file: path, problem: null })
    const { license, signature } = JSON.parse(text)
    const turned = Object.fromEntries(Object.entries(license).reverse())
    assert.deepEqual(open(JSON.stringify({ signature, license: turned })).state.license, good)
    const limitless = { ...good, limits: { services: null }, expires_at: null }
    assert.deepEqual(open(sealLicense(limitless, issuer)).state.license, limitless)
  })

  it('there is none: the community edition, and nothing is wrong', () => {
    assert.deepEqual(open(null).state, { license: null, file: null, problem: null })
  })

  const changed = (change: (license: Record<string, unknown>) => void): string => {
    const file = JSON.parse(text)
    change(file.license)
    return JSON.stringify(file)
  }
  const bad: Array<[name: string, content: string, problem: RegExp]> = [
    ['empty', '', /is no JSON, or not all of it; get the whole file/],
    ['cut short', text.slice(0, 100), /is no JSON, or not all of it/],
    ['of another issuer', sealLicense(good, stranger), /not signed by the issuer/],
    ['with more services than were sold', changed((one) => (one['limits'] = { services: 9999 })), /not signed by/],
    ['that was made to last', changed((one) => delete one['expires_at']), /not signed by/],
    ['with a field slipped in', changed((one) => (one['more'] = true)), /not signed by/],
    ['without a signature', JSON.stringify({ license: good }), /has no signature/],
    ['that is a list', '[]', /is no JSON object/],
    ['that is null', 'null', /is no JSON object/],
    ['signed, without a holder', sealLicense({ ...good, holder: '' }, issuer), /has no good "holder"/],
    ['signed, with half a service', sealLicense({ ...good, limits: { services: 1.5 } }, issuer), /no good "limits"/],
    ['signed, with a time that is none', sealLicense({ ...good, expires_at: 'soon' }, issuer), /no good "expires_at"/],
    ['too large', text + ' '.repeat(licenseBytesMax), /has more than 65536 bytes/]
  ]
  for (const [name, content, problem] of bad) {
    it(`${name}: is named with what to do, and does not count`, () => {
      const { license, problem: told } = open(content).state
      assert.equal(license, null)
      assert.match(told ?? '', problem)
      assert.match(told ?? '', /^the licence \/.*license\.json .*; \w+/)
    })
  }

  it('every cut and every flipped bit of it is refused, and none throws', () => {
    for (let at = 0; at < text.trimEnd().length; at++) {
      assert.equal(open(text.slice(0, at)).state.license, null, `cut at ${at}`)
    }
    const bytes = Buffer.from(text)
    for (let at = 0; at < bytes.length; at += 3) {
      const flipped = Buffer.from(bytes)
      flipped[at] = (flipped[at] ?? 0) ^ (1 << (at % 7))
      const { license } = open(flipped.toString('latin1')).state
      // Blanks between the fields are no part of what is signed.
      if (license != null) assert.deepEqual(license, good, `flipped at ${at}`)
    }
  })

  it('expires while the agent runs, and is renewed by a reload', () => {
    const held = open(text)
    now = Date.parse('2127-01-01')
    assert.equal(held.state.license, null)
    assert.match(held.state.problem ?? '', /expired at 2126-01-01T00:00:00.000Z; put a new one there and send SIGHUP/)
    const renewed = { ...good, expires_at: '2226-01-01T00:00:00.000Z' }
    writeFileSync(join(stateDir, 'license.json'), sealLicense(renewed, issuer))
    held.reload({ file: null, key: issuer.publicKey, stateDir })
    assert.deepEqual(held.state.license, renewed)
  })

  it('that is named and cannot be read, or that nobody can verify, is a problem', () => {
    assert.match(open(null, { file: join(stateDir, 'none.json') }).state.problem ?? '', /cannot be read \(ENOENT\)/)
    assert.match(open(null, { file: stateDir }).state.problem ?? '', /cannot be read \(EISDIR\)/)
    assert.match(open(text, { key: null }).state.problem ?? '', /without its issuer's public key; .*--license-key/)
    if (process.getuid?.() !== 0) {
      chmodSync(join(stateDir, 'license.json'), 0)
      assert.match(open(null).state.problem ?? '', /cannot be read \(EACCES\)/)
    }
  })

  it('is issued by tools/license.ts, with a key that it makes and never writes over', () => {
    const key = join(stateDir, 'issuer.key')
    const tool = ['--disable-warning=ExperimentalWarning', 'tools/license.ts']
    const run = (...args: string[]): string => execFileSync(process.execPath, [...tool, ...args], { encoding: 'utf8' })
    const publicKey = Buffer.from(run('key', key).trim(), 'base64')
    assert.equal(statSync(key).mode & 0o777, 0o600)
    const before = readFileSync(key, 'utf8')
    assert.notEqual(spawnSync(process.execPath, [...tool, 'key', key], { stdio: 'ignore' }).status, 0)
    assert.equal(readFileSync(key, 'utf8'), before)
    const issued = run('issue', '--key', key, '--holder', 'Acme', '--edition', 'team', '--services', '5', '--days', '1')
    now = systemClock.now()
    const { license } = open(issued, { key: publicKey }).state
    assert.deepEqual([license?.holder, license?.edition, license?.limits], ['Acme', 'team', { services: 5 }])
    now += 86_400_000 + 1000
    assert.match(open(null, { key: publicKey }).state.problem ?? '', /expired/)
  })
})
