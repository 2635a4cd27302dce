import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Applied } from '../../src/api/declare/applier.ts'
import type { ServiceJson } from '../../src/actors/operator/operator.ts'
import { until } from '../../lab/wait.ts'
import { meshOf, type Mesh } from './two-sites.ts'

const MESH = `services:
  - name: offices
    source_peer: edge-a
    target_peer: edge-b
    routes:
      - dest_cidr: 10.2.0.0/24
`

describe('e2e: apply --confirm-within', function () {
  this.timeout(60_000)
  let mesh: Omit<Mesh, 'service'>
  let file: string

  before(async function () {
    mesh = await meshOf(this, 'e2e-confirm')
    file = join(mesh.lab.directory, 'mesh.yaml')
    writeFileSync(file, MESH)
  })
  after(() => mesh?.lab.close())

  const rules = (): Promise<string> => mesh.sites.edgeB.exec(['nft', 'list', 'table', 'inet', 'arctic'])
  const services = (): Promise<ServiceJson[]> => mesh.b.ask('services', 'list')

  it('is taken back by the agent that comes after a killed one, in the kernel of the other peer as well', async () => {
    const { a, b } = mesh
    const { pending } = await a.ask<Applied>('apply', '-f', file, '--confirm-within', '4s', '--wait', '20s')
    assert.ok(pending != null)
    assert.match(await rules(), /10\.2\.0\.0 : goto accept_/)
    await a.end('SIGKILL')
    // Nobody is there to take it back, and nobody else does.
    await until('the time to be up', () => Date.now() > Date.parse(pending.expires_at), { timeoutMs: 10_000 })
    assert.deepEqual(
      (await services()).map(({ name }) => name),
      ['offices']
    )
    await a.start()
    await until('the service to be gone', async () => (await services()).length === 0, { timeoutMs: 20_000 })
    await until('its rules to be gone', async () => !(await rules()).includes('10.2.0.0'), { timeoutMs: 20_000 })
    const late = await a.cli('confirm')
    assert.equal(late.code, 4, late.stderr)
    assert.match(late.stderr, /no change waits for a confirmation/)
    assert.ok(b.agent.running)
  })

  it('stays when it was confirmed, though the agent is killed after it', async () => {
    const { a } = mesh
    const { pending } = await a.ask<Applied>('apply', '-f', file, '--confirm-within', '3s')
    await a.ask('confirm')
    await a.end('SIGKILL')
    await a.start()
    await until('the time to be up', () => Date.now() > Date.parse(pending?.expires_at ?? '') + 1_000, {
      timeoutMs: 10_000
    })
    assert.deepEqual(
      (await services()).map(({ name }) => name),
      ['offices']
    )
  })
})
