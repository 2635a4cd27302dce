import assert from 'node:assert/strict'
import { Capture } from '../../lab/capture.ts'
import { SERVER } from '../../lab/topology.ts'
import { payload, sha256 } from '../../lab/traffic/payload.ts'
import { tcp, tcpServer, ticker } from '../../lab/traffic/tools.ts'
import { until } from '../../lab/wait.ts'
import { carryingMeshOf, MIB, type Mesh } from './two-sites.ts'

const PORTS = { echo: 7001, digest: 7003, burst: 7004, reset: 7005 }

/** The same flows on another road: UDP between the hosts, TCP for whoever speaks and listens. */
describe('e2e: a service over KCP', function () {
  this.timeout(60_000)
  let mesh: Mesh

  before(async function () {
    mesh = await carryingMeshOf(this, 'e2e-kcp')
    await tcpServer(mesh.sites.server, SERVER.v4, PORTS)
  })
  after(() => mesh?.lab.close())

  const to = (manner: keyof typeof PORTS) => ({ address: SERVER.v4, port: PORTS[manner], waitMs: 20_000 })
  const transport = async (): Promise<unknown> => {
    const service = await mesh.a.service(mesh.service.id)
    return [service?.status.phase, service?.transport_type, service?.status.effective_transport]
  }
  const move = async (name: 'tcp' | 'kcp'): Promise<void> => {
    await mesh.a.ask('services', 'update', mesh.service.id, '--transport', name)
    await Promise.all([mesh.a.active(mesh.service.id), mesh.b.active(mesh.service.id)])
  }

  it('an open flow keeps its carrier while the service moves, and the status says what is in force', async () => {
    assert.deepEqual(await transport(), ['active', 'tcp', 'tcp'])
    const open = await ticker(mesh.sites.client, SERVER.v4, PORTS.echo, 20)
    await move('kcp')
    assert.deepEqual(await transport(), ['active', 'kcp', 'kcp'])
    const ticks = (): number => open.json().length
    const before = ticks()
    await until('the open flow to go on', () => ticks() > before + 5, { timeoutMs: 5000 })
    assert.ok(open.running)
    await open.stop()
  })

  it('64 MiB arrive unchanged over UDP 7948, and none of it over TCP 7947', async () => {
    const capture = await Capture.start(mesh.sites.edgeA, 'wire0', 'greater 400 and (udp port 7948 or tcp port 7947)')
    const outcome = await tcp(mesh.sites.client, { ...to('digest'), sendBytes: 64 * MIB, end: true })
    const { byPort, bytes } = await capture.stop()
    assert.deepEqual([outcome.how, outcome.text], ['end', `${64 * MIB} ${sha256(payload('upload', 64 * MIB))}`])
    assert.ok(bytes > 32 * MIB, `${bytes} bytes captured`)
    assert.ok((byPort.get('udp/7948') ?? 0) > 0)
    assert.equal(byPort.get('tcp/7947') ?? 0, 0)
  })

  it('half-close, reset and refusal reach the other end', async () => {
    const burst = await tcp(mesh.sites.client, { ...to('burst'), sendBytes: 2 * MIB })
    assert.deepEqual([burst.how, burst.received], ['end', MIB])
    assert.equal((await tcp(mesh.sites.client, { ...to('reset'), send: 'x' })).how, 'ECONNRESET')
    assert.equal((await tcp(mesh.sites.client, { ...to('echo'), port: 7999, send: 'x' })).how, 'ECONNRESET')
  })

  it('where its UDP is not let through no flow goes over TCP instead, and the service says so until it is', async () => {
    const block =
      'table inet between {\nchain out {\ntype filter hook output priority 0; policy accept;\nudp dport 7948 drop\nudp sport 7948 drop\n}\n}\n'
    await mesh.sites.edgeB.exec(['nft', '-f', '-'], { input: block })
    try {
      const { status } = await mesh.a.phase(mesh.service.id, 'degraded', 40_000)
      assert.match(JSON.stringify(status.conditions), /no flow over kcp reaches the target peer/)
      assert.equal((await tcp(mesh.sites.client, { ...to('echo'), send: 'x' })).how, 'ECONNRESET')
    } finally {
      await mesh.sites.edgeB.exec(['nft', 'delete', 'table', 'inet', 'between'])
    }
    await Promise.all([mesh.a.active(mesh.service.id), mesh.b.active(mesh.service.id)])
    assert.deepEqual(await transport(), ['active', 'kcp', 'kcp'])
  })

  it('and back to TCP', async () => {
    await move('tcp')
    assert.deepEqual(await transport(), ['active', 'tcp', 'tcp'])
    const outcome = await tcp(mesh.sites.client, { ...to('digest'), sendBytes: MIB, end: true })
    assert.deepEqual([outcome.how, outcome.text], ['end', `${MIB} ${sha256(payload('upload', MIB))}`])
  })
})
