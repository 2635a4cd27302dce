import assert from 'node:assert/strict'
import type { networkInterfaces } from 'node:os'
import { ownHosts, withoutOwnDevices } from '../../src/own-addresses.ts'

type Interfaces = ReturnType<typeof networkInterfaces>

const device = (...addresses: string[]): Interfaces[string] =>
  addresses.map((address) => ({
    address,
    netmask: '255.255.255.0',
    mac: '00:00:00:00:00:00',
    internal: false,
    cidr: `${address}/24`,
    ...(address.includes(':') ? { family: 'IPv6' as const, scopeid: 0 } : { family: 'IPv4' as const })
  }))

describe('agent: addresses on devices of our own are told to nobody', () => {
  const interfaces: Interfaces = {
    eth0: device('10.9.0.1', 'fd00:9::1'),
    'arct-7e025a62': device('10.77.0.1'),
    '01m7x7fzpfv3cfe': device('10.1.0.50', 'fd00:1::50'),
    // As long as a service's device, but with a letter that no ULID has.
    '01m7x7fzpfv3cfu': device('10.8.0.1')
  }

  it('not as data addresses', () => {
    assert.deepEqual(ownHosts(interfaces), ['10.9.0.1', '10.8.0.1', 'fd00:9::1'])
  })

  it('and not as mesh addresses', () => {
    const bound = ['10.9.0.1', '10.1.0.50', '10.8.0.1'].map((address) => `/ip4/${address}/tcp/7946`)
    const all = [...bound, '/ip6/fd00:1::50/tcp/7946', '/dns/edge.example/tcp/7946']
    assert.deepEqual(withoutOwnDevices(all, interfaces), [bound[0], bound[2], '/dns/edge.example/tcp/7946'])
  })
})
