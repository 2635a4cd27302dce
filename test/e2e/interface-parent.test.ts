import assert from 'node:assert/strict'
import type { ServiceJson } from '../../src/actors/operator/operator.ts'
import { until } from '../../lab/wait.ts'
import { meshOf, type Mesh } from './two-sites.ts'

describe('e2e: what a service says of the interface under its device', function () {
  this.timeout(60_000)
  let mesh: Omit<Mesh, 'service'>
  let service: ServiceJson

  before(async function () {
    mesh = await meshOf(this, 'e2e-parent')
    await plugIn()
    const flags = ['--requires-interface', '--desired-ipv4', '10.66.0.5/24']
    service = await mesh.a.connect({ source: 'edge-a', target: 'edge-b', routes: [[]], flags })
    await mesh.a.active(service.id)
  })
  after(() => mesh?.lab.close())

  /** An interface like any other, which can be pulled out as a whole. */
  const plugIn = (): Promise<void> =>
    mesh.a.host.ip([
      'link add nic0 type veth peer name nic1',
      'address add 10.66.0.1/24 dev nic0',
      'link set nic0 up',
      'link set nic1 up'
    ])
  const condition = async (type: string): Promise<string | null> => {
    const conditions = (await mesh.a.service(service.id))?.status.conditions
    return conditions?.find((one) => one.type === type && !one.status)?.reason ?? null
  }
  const says = (type: string, reason: string | null): Promise<boolean> =>
    until(
      `${type} to be ${reason ?? 'well'}`,
      async () => {
        const found = await condition(type)
        if (found === reason) return true
        throw new Error(String(found))
      },
      { timeoutMs: 5000 }
    )

  it('it is down, or has no carrier, and is up again', async () => {
    for (const device of ['nic0', 'nic1']) {
      await mesh.a.host.ip([`link set ${device} down`])
      await says('InterfaceParent', 'ParentDown')
      await mesh.a.host.ip([`link set ${device} up`])
      await says('InterfaceParent', null)
    }
  })

  it('it is pulled out: degraded, other things are still put back, and in force again once it is there', async () => {
    const { a } = mesh
    await a.host.ip(['link delete nic0'])
    await says('Interface', 'MacvlanFailed')
    const degraded = await a.phase(service.id, 'degraded', 5000)
    assert.equal(degraded.status.interface, null)
    await a.host.exec(['ip', 'rule', 'flush', 'priority', '7946'])
    await until('the rules to be back', async () => (await a.host.exec(['ip', 'rule'])).includes('7946:'), {
      timeoutMs: 5000
    })
    await plugIn()
    assert.equal((await a.active(service.id, 5000)).status.interface?.ipv4, '10.66.0.5/24')
  })
})
