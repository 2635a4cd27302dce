import assert from 'node:assert/strict'
import type { Replica } from '../../src/crdt/replica.ts'
import type { ServiceInput } from '../../src/crdt/schema.ts'
import { Bench, peerRecord, pull, serviceInput } from './support.ts'

describe('crdt/device-address', () => {
  const bench = new Bench()
  afterEach(() => bench.clean())

  const own = (a: Replica, b: Replica, address: string, more: Partial<ServiceInput> = {}): ServiceInput =>
    serviceInput(a, b, {
      requires_interface: true,
      [address.includes(':') ? 'desired_ipv6_cidr' : 'desired_ipv4_cidr']: address,
      ...more
    })

  async function two(): Promise<[Replica, Replica]> {
    const a = await bench.founder(1)
    const b = await bench.joiner(a, 2)
    await pull(a, b)
    return [a, b]
  }

  it('of two services on one peer is not the same, whatever their prefixes', async () => {
    const [a, b] = await two()
    const { id } = await a.createService(own(a, b, '10.1.0.50/24', { name: 'first' }))
    const conflict = {
      code: 'interface_conflict',
      message: /^10\.1\.0\.50 is taken: the service "first" \(01\w+\) has it; /
    }
    await assert.rejects(a.createService(own(a, b, '10.1.0.50/16')), conflict)
    const other = await a.createService(own(a, b, '10.1.0.51/24'))
    await assert.rejects(a.updateService(other.id, { desired_ipv4_cidr: '10.1.0.50/24' }), conflict)
    // The same service keeps it, and another peer's network is another one.
    await a.updateService(id, { desired_ipv4_cidr: '10.1.0.50/16' })
    await pull(b, a)
    await b.createService(own(b, a, '10.1.0.50/24'))
    await a.deleteService(id)
    await a.updateService(other.id, { desired_ipv4_cidr: '10.1.0.50/24' })
  })

  it('is none by which a member is reached', async () => {
    const [a, b] = await two()
    const mesh_addresses = ['/ip4/10.9.0.2/tcp/7946', '/ip6/fd00::2/tcp/7946']
    await b.putPeer({
      ...peerRecord(b.self, 'peer-2'),
      mesh_addresses,
      data_addresses: ['10.9.0.3:7947', '[fd00::3]:7947']
    })
    await pull(a, b)
    for (const address of ['10.9.0.2/24', '10.9.0.3/24', 'fd00::2/64', 'fd00::3/64']) {
      await assert.rejects(a.createService(own(a, b, address)), {
        code: 'interface_conflict',
        message: /is taken: the peer "peer-2" is reached by it; choose an address that nobody has$/
      })
    }
    await a.createService(own(a, b, '10.9.0.4/24'))
  })

  it('is one that an interface can have', async () => {
    const [a, b] = await two()
    for (const [address, why] of [
      ['0.0.0.0/0', /no address that an interface can have/],
      ['127.0.0.2/8', /no address that an interface can have/],
      ['255.255.255.255/32', /no address that an interface can have/],
      ['224.0.0.5/24', /is multicast/],
      ['10.1.0.0/24', /is the network and no address in it; did you mean 10\.1\.0\.1\/24\?$/],
      ['10.1.0.255/24', /is the broadcast address of its network/],
      ['::/64', /no address that an interface can have/],
      ['::1/128', /no address that an interface can have/],
      ['::ffff:10.1.0.2/120', /no address that an interface can have/],
      ['ff02::5/64', /is multicast/],
      ['fe80::5/64', /is link-local/]
    ] as const) {
      await assert.rejects(a.createService(own(a, b, address)), { code: 'invalid_cidr', message: why }, address)
    }
    for (const address of ['10.1.0.0/31', '10.1.0.1/31', '10.1.0.9/32', 'fd00::/127', 'fd00:1::5/64']) {
      await a.createService(own(a, b, address))
    }
  })
})
