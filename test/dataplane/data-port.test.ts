import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { checkDataPort } from '../../src/dataplane/data-port.ts'
import { UnavailableError } from '../../src/errors.ts'

describe('dataplane: the data port before an engine opens it', () => {
  const refused = (listen: string, protocol: 'tcp' | 'udp', hint: RegExp): Promise<void> =>
    assert.rejects(checkDataPort(listen, protocol), (error) => {
      assert.ok(error instanceof UnavailableError)
      assert.match(error.message, hint)
      return error.message.includes(listen)
    })

  for (const host of ['127.0.0.1', '::1']) {
    const at = (port: number): string => (host === '::1' ? `[::1]:${port}` : `${host}:${port}`)

    it(`TCP on ${host}: taken is told, free leaves nothing behind`, async () => {
      const other = createServer().listen({ host, port: 0 })
      await once(other, 'listening')
      const { port } = other.address() as AddressInfo
      await refused(at(port), 'tcp', /EADDRINUSE.*--data-listen/)
      other.close()
      await once(other, 'close')
      await checkDataPort(at(port), 'tcp')
      await checkDataPort(at(port), 'tcp')
    })

    it(`UDP on ${host}: taken is told, free leaves nothing behind`, async () => {
      const other = createSocket(host === '::1' ? 'udp6' : 'udp4').bind({ address: host, port: 0 })
      await once(other, 'listening')
      const { port } = other.address()
      await refused(at(port), 'udp', /EADDRINUSE.*--data-listen/)
      other.close()
      await once(other, 'close')
      await checkDataPort(at(port), 'udp')
      await checkDataPort(at(port), 'udp')
    })

    it(`the UDP port above on ${host}: taken is told by its own number`, async () => {
      const other = createSocket(host === '::1' ? 'udp6' : 'udp4').bind({ address: host, port: 0 })
      await once(other, 'listening')
      const { port } = other.address()
      await assert.rejects(checkDataPort(at(port - 1), 'udp', { above: 1 }), (error: Error) =>
        error.message.includes(`${at(port)} (udp, EADDRINUSE)`)
      )
      other.close()
      await once(other, 'close')
      await checkDataPort(at(port - 1), 'udp', { above: 1 })
    })
  }

  it('the highest port has none above it', () =>
    assert.rejects(checkDataPort('127.0.0.1:65535', 'udp', { above: 1 }), /--data-listen/))

  it('an address that this host has not is told', () => refused('192.0.2.1:7947', 'tcp', /EADDRNOTAVAIL/))
})
