import assert from 'node:assert/strict'
import type { HostDoctor } from '../../../src/actors/operator/doctor.ts'
import { FakeLab } from '../fakes/agents.ts'
import { member, peerRecord } from '../fakes/records.ts'

describe('the doctor of an agent', () => {
  let lab: FakeLab
  beforeEach(() => {
    lab = new FakeLab()
  })
  afterEach(() => lab.stop())

  const hostDoctor = (refuses: string[] = []): HostDoctor => ({
    host: async () => [{ name: 'host', status: 'ok', found: 'fine', mend: null }],
    connects: async (address) => (refuses.includes(address) ? 'ECONNREFUSED' : null)
  })

  async function examined(options: { refuses?: string[] } = {}): Promise<Map<string, string>> {
    const { operator } = (await lab.agent('a', { hostDoctor: hostDoctor(options.refuses) })).actors
    const { ok, checks } = await operator.doctor()
    assert.equal(ok, !checks.some(({ status }) => status === 'fail'))
    for (const { status, mend, name } of checks) assert.equal(mend == null, status === 'ok', name)
    return new Map(checks.map(({ name, status, found }) => [name, `${status}: ${found}`]))
  }

  it('finds nothing wrong where nothing is', async () => {
    await lab.agent('b')
    const checks = await examined()
    assert.deepEqual([...checks.keys()].slice(0, 1), ['host'])
    assert.match(checks.get('mesh to b') ?? '', /^ok: reachable/)
    assert.match(checks.get('data port of b') ?? '', /^ok: 10\.9\.0\.\d+:7947 answers/)
    assert.match(checks.get('clock') ?? '', /^ok/)
    assert.ok(![...checks.values()].some((text) => text.startsWith('fail')), JSON.stringify([...checks]))
  })

  it('names a member that is away, and a data port that is closed: worse when something is carried there', async () => {
    lab.document.admit(member('c'))
    const b = await lab.agent('b')
    const [address = ''] = peerRecord('b').data_addresses
    const before = await examined({ refuses: [address] })
    assert.match(before.get('mesh to c') ?? '', /^fail: not reachable at \/ip4/)
    assert.match(before.get('data port of b') ?? '', /^warn: no answer on TCP \(.*ECONNREFUSED\)/)
    await b.actors.operator.createService({ target_peer_id: 'a' })
    const { checks } = await lab.agents.get('a')!.actors.operator.doctor()
    assert.equal(checks.find(({ name }) => name === 'data port of b')?.status, 'fail')
  })

  it('names peers that have one name', async () => {
    await lab.agent('b')
    assert.ok(![...(await examined()).keys()].some((name) => name.startsWith('name ')))
    lab.document.admit({ ...member('c'), name: 'b' })
    const { checks } = await lab.agents.get('a')!.actors.operator.doctor()
    const check = checks.find(({ name }) => name === 'name b')
    assert.deepEqual([check?.status, check?.mend], ['warn', 'give one of them another: arctic peers rename ID NAME'])
    assert.match(check?.found ?? '', /^2 peers have it: /)
  })

  it('compares clocks', async () => {
    const b = await lab.agent('b')
    for (const [behindMs, expected] of [
      [500, /^ok: b is 0\.5 s behind/],
      [-5000, /^warn: b is 5\.0 s ahead of/],
      [3_600_000, /^fail: b is 3600\.0 s behind/]
    ] as const) {
      b.mesh.clockBehindMs = behindMs
      lab.agents.delete('a')
      lab.document.members = lab.document.members.filter(({ name }) => name !== 'a')
      assert.match((await examined()).get('clock') ?? '', expected)
    }
  })
})
