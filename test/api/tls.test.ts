import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { request as plainRequest } from 'node:http'
import { request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { connect, type TLSSocket } from 'node:tls'
import { certificateCheckMs } from '../../src/api/http/limits.ts'
import { type Http, type HttpOptions, startHttp } from '../../src/api/http/server.ts'
import { makeCertificate } from '../../src/api/http/tls/certificate.ts'
import { type Clock, systemClock } from '../../src/clock.ts'
import { silentLogger } from '../../src/log.ts'
import { MemoryOperator } from './memory-operator.ts'

describe('api: HTTPS', () => {
  let directory: string
  let cert: string
  let key: string
  let https: Http | null
  let warnings: string[]
  /** What the server does every so often, done when the test says so. */
  let ticks: Array<() => void>
  const clock: Clock = {
    ...systemClock,
    every(ms, fn) {
      if (ms === certificateCheckMs) ticks.push(fn)
      return systemClock.every(ms, fn)
    }
  }
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'arctic-tls-'))
    cert = join(directory, 'cert.pem')
    key = join(directory, 'key.pem')
    https = null
    warnings = []
    ticks = []
  })
  afterEach(async () => {
    await https?.stop()
    rmSync(directory, { recursive: true, force: true })
  })

  const start = async (apiListen: string, tls: Partial<HttpOptions['tls']> = {}): Promise<Http> => {
    const log = { ...silentLogger, warn: (_: object, message: string) => void warnings.push(message) }
    https = await startHttp({
      operator: new MemoryOperator(),
      socketPath: join(directory, 'agent.sock'),
      apiListen,
      stateDir: directory,
      tls: { cert: null, key: null, plain: false, names: ['edge-a', '192.0.2.7'], ...tls },
      log: { ...log, module: () => log },
      version: '0.1.0',
      clock
    })
    return https
  }
  const writePair = async (): Promise<string> => {
    const pair = await makeCertificate([], systemClock.now())
    writeFileSync(cert, pair.cert)
    writeFileSync(key, pair.key, { mode: 0o600 })
    return new X509Certificate(pair.cert).fingerprint256
  }
  const portOf = ({ tcpAddress }: Http): number => Number(tcpAddress!.split(':').at(-1))
  const seen = async (http: Http): Promise<string> => {
    const socket: TLSSocket = connect({ host: '127.0.0.1', port: portOf(http), rejectUnauthorized: false })
    await once(socket, 'secureConnect')
    const { fingerprint256 } = socket.getPeerX509Certificate()!
    socket.destroy()
    return fingerprint256
  }
  const ask = async (http: Http, path: string, headers: Record<string, string> = {}) => {
    const sent = request({
      host: '127.0.0.1',
      port: portOf(http),
      path,
      headers,
      rejectUnauthorized: false,
      agent: false
    })
    sent.end()
    const [response] = await once(sent, 'response')
    return { status: response.statusCode as number, text: await text(response) }
  }
  const until = async (met: () => boolean): Promise<void> => {
    for (let tries = 0; !met(); tries++) {
      assert.ok(tries < 400, 'it happens within 2 s')
      await systemClock.sleep(5)
    }
  }

  it('is what there is beyond loopback, by a certificate that is made once and stays', async () => {
    const http = await start('0.0.0.0:0')
    const path = join(directory, 'api-tls.pem')
    assert.equal(statSync(path).mode & 0o777, 0o600)
    const made = new X509Certificate(readFileSync(path))
    assert.match(http.fingerprint!, /^([0-9A-F]{2}:){31}[0-9A-F]{2}$/)
    assert.deepEqual([made.fingerprint256, await seen(http)], [http.fingerprint, http.fingerprint])
    assert.deepEqual([made.checkIP('192.0.2.7'), made.checkHost('edge-a')], ['192.0.2.7', 'edge-a'])
    assert.equal((await ask(http, '/healthz', { host: 'edge-a.example' })).status, 200)
    assert.equal((await ask(http, '/v1/services')).status, 401)
    await http.stop()
    assert.equal((await start('0.0.0.0:0')).fingerprint, http.fingerprint)
  })

  it('does not answer plain HTTP there, unless plain HTTP was asked for', async () => {
    const plain = async (http: Http): Promise<number | string> => {
      const sent = plainRequest({ host: '127.0.0.1', port: portOf(http), path: '/healthz', agent: false })
      sent.end()
      try {
        const [response] = await once(sent, 'response')
        response.resume()
        return response.statusCode as number
      } catch (error) {
        return (error as NodeJS.ErrnoException).code ?? ''
      }
    }
    assert.equal(await plain(await start('0.0.0.0:0')), 'ECONNRESET')
    await https?.stop()
    rmSync(join(directory, 'api-tls.pem'))
    const http = await start('0.0.0.0:0', { plain: true })
    assert.deepEqual([await plain(http), http.fingerprint], [200, null])
    assert.match(warnings.join(), /plain HTTP beyond loopback/)
    assert.equal(existsSync(join(directory, 'api-tls.pem')), false)
  })

  it('uses the certificate it is given, on loopback too, and a loopback address without one is plain', async () => {
    const fingerprint = await writePair()
    const http = await start('127.0.0.1:0', { cert, key })
    assert.deepEqual([http.fingerprint, await seen(http)], [fingerprint, fingerprint])
    await http.stop()
    assert.equal((await start('127.0.0.1:0')).fingerprint, null)
  })

  it('takes over a new certificate without losing a connection, by itself and when told', async () => {
    await writePair()
    const http = await start('0.0.0.0:0', { cert, key })
    const open = connect({ host: '127.0.0.1', port: portOf(http), rejectUnauthorized: false })
    await once(open, 'secureConnect')
    const second = await writePair()
    for (const tick of ticks) tick()
    await until(() => http.fingerprint === second)
    assert.equal(await seen(http), second)
    const third = await writePair()
    await http.reload()
    assert.deepEqual([http.fingerprint, await seen(http)], [third, third])
    open.write('GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
    assert.match(await text(open), /^HTTP\/1\.1 200/)
  })

  it('keeps the old one while the new one is not whole', async () => {
    const first = await writePair()
    const http = await start('0.0.0.0:0', { cert, key })
    const pair = await makeCertificate([], systemClock.now())
    writeFileSync(cert, pair.cert)
    for (const tick of [...ticks, ...ticks]) tick()
    await until(() => warnings.length > 0)
    assert.deepEqual([http.fingerprint, await seen(http)], [first, first])
    writeFileSync(`${key}.new`, pair.key)
    renameSync(`${key}.new`, key)
    for (const tick of ticks) tick()
    await until(() => http.fingerprint !== first)
    assert.equal(await seen(http), new X509Certificate(pair.cert).fingerprint256)
    rmSync(key)
    await http.reload()
    assert.equal(http.fingerprint, new X509Certificate(pair.cert).fingerprint256)
  })

  it('refuses to start by files that are no pair, and says which', async () => {
    await writePair()
    const { key: other } = await makeCertificate([], systemClock.now())
    const socket = join(directory, 'agent.sock')
    for (const [write, message] of [
      [() => writeFileSync(key, other), /the key is not this certificate's|not a PEM certificate and its key/],
      [() => writeFileSync(cert, 'nonsense'), /not a PEM certificate/],
      [() => rmSync(cert), /cert\.pem cannot be read \(ENOENT\); check --api-cert/]
    ] as const) {
      write()
      await assert.rejects(start('0.0.0.0:0', { cert, key }), (error: Error & { code: string }) => {
        assert.deepEqual([error.code, existsSync(socket)], ['invalid_request', false])
        assert.match(error.message, message)
        assert.ok(!error.message.includes('PRIVATE'))
        return true
      })
    }
  })
})
