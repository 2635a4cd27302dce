import assert from 'node:assert/strict'
import { ApiHost } from './api-host.ts'
import { EDGE_B } from './memory-operator.ts'

describe('api: actors', () => {
  let host: ApiHost
  before(async () => {
    host = await ApiHost.start()
  })
  after(() => host.stop())

  const at = (path: string): string => `/v1/actors/${encodeURIComponent(path)}`

  it('shows an actor with what it takes, its chart and its steps', async () => {
    const { status, json } = await host.ask('GET', at(`peer:${EDGE_B}`))
    assert.equal(status, 200)
    assert.equal(json.state, 'membership.discovered, reach.unreachable')
    assert.deepEqual(json.takes, [
      { type: 'peer.reached', fields: {}, now: true },
      { type: 'peer.lost', fields: {}, now: false }
    ])
    assert.deepEqual(json.context, { id: EDGE_B, self: false, role: 'source' })
    assert.ok(
      json.chart.states.some(
        (one: { path: string; current: boolean }) => one.path === 'reach.unreachable' && one.current
      )
    )
    assert.deepEqual(json.history[0].event, 'start')
  })

  it('sends an event and answers what it caused, and who it was', async () => {
    const { status, json } = await host.ask('POST', `${at(`peer:${EDGE_B}`)}/events`, { type: 'peer.reached' })
    assert.equal(status, 200, JSON.stringify(json))
    assert.equal(json.to, 'membership.discovered, reach.reachable')
    assert.partialDeepStrictEqual(json.caused, [{ event: 'peer.reached', by: 'socket' }])
    const { json: after } = await host.ask('GET', at(`peer:${EDGE_B}`))
    assert.partialDeepStrictEqual(after.history.at(-1), { event: 'peer.reached', by: 'socket', to: json.to })
  })

  it('refuses what the actor does not take, and lists what it does', async () => {
    const events = `${at(`peer:${EDGE_B}`)}/events`
    const unknown = await host.ask('POST', events, { type: 'peer.exploded' })
    assert.deepEqual([unknown.status, unknown.json.error.code], [400, 'invalid_request'])
    assert.match(unknown.json.error.message, /peer\.reached, peer\.lost/)
    assert.deepEqual(unknown.json.error.details.takes, ['peer.reached', 'peer.lost'])
    const internal = await host.ask('POST', events, { type: 'peer.revoked' })
    assert.equal(internal.status, 400, 'what only the agent itself may say')
    const extra = await host.ask('POST', events, { type: 'peer.reached', why: 'fun' })
    assert.match(extra.json.error.message, /no field "why"/)
    const untyped = await host.ask('POST', events, { type: 7 })
    assert.equal(untyped.status, 400)
    const { json: service } = await host.ask('POST', '/v1/services', { target_peer_id: EDGE_B, name: 'web' })
    const missing = await host.ask('POST', `${at('service:web')}/events`, { type: 'service.impaired', reason: 'x' })
    assert.match(missing.json.error.message, /"message" of service\.impaired is missing/)
    const early = await host.ask('POST', `${at(`service:${service.id}`)}/events`, {
      type: 'service.awaited',
      reason: 'x',
      message: 'y'
    })
    assert.deepEqual([early.status, early.json.error.details.now], [409, ['service.programmed', 'service.impaired']])
  })

  it('says when there is no such actor', async () => {
    for (const path of ['ghost', 'service:nope', 'peer:nobody', 'no such thing', '__proto__']) {
      const { status, json } = await host.ask('GET', at(path))
      assert.deepEqual([status, json.error.code], [404, 'not_found'], path)
    }
    const watch = await host.ask('GET', '/v1/actors/watch?path=ghost')
    assert.equal(watch.status, 404)
    // The API's path of an actor of this name is the watch, which never ends.
    for (const args of [
      ['inspect', 'watch'],
      ['send', 'watch', 'x']
    ]) {
      const { exit, err } = await host.cli(['actors', ...args])
      assert.equal(exit, 4)
      assert.match(err, /^error: not_found: no actor "watch" lives here/)
    }
  })

  it('repeats no control character of an address in what a terminal shows', async () => {
    const { exit, err } = await host.cli(['actors', 'inspect', 'service:\u001B[31mred\u0007'])
    assert.equal(exit, 4)
    assert.ok(err.includes('"service:\\u001b[31mred\\u0007"'), err)
  })

  it('draws the machine with its present state as text and as mermaid', async () => {
    const drawn = await host.cli(['actors', 'inspect', `peer:${EDGE_B}`, '--diagram'])
    assert.equal(drawn.exit, 0, drawn.err)
    assert.match(drawn.out, /● membership +parallel|● membership/)
    assert.match(drawn.out, /○ admitted/)
    assert.match(drawn.out, /peer\.lost +→ reach\.unreachable/)
    const mermaid = await host.cli(['actors', 'inspect', 'service:web', '--diagram'])
    assert.match(mermaid.out, /^stateDiagram-v2$/m)
    assert.match(mermaid.out, /^ {2}\[\*\] --> s_pending$/m)
    assert.match(mermaid.out, /s_pending --> s_active : service\.programmed/)
    assert.match(mermaid.out, /class s_pending current/)
    const plain = await host.cli(['actors', 'inspect', 'service:web'])
    assert.match(plain.out, /context\.role: +source/)
  })

  it('sends and watches from the command line', async () => {
    const watching = host.startCli(['actors', 'watch', 'service:web', '-j'])
    await until(() => watching.printed().includes('pending'))
    const sent = await host.cli([
      'actors',
      'send',
      'service:web',
      '{"type":"service.impaired","reason":"Drill","message":"m"}'
    ])
    assert.match(sent.out, /took service\.impaired: pending → degraded/)
    const again = await host.cli(['actors', 'send', 'service:web', 'service.programmed', '-j'])
    assert.equal(again.json.to, 'active')
    await until(() => watching.printed().includes('"to":"active"'))
    watching.interrupt()
    const { exit, out } = await watching.done
    assert.equal(exit, 0)
    const steps = out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    assert.deepEqual(
      steps.map(({ event, to }) => [event, to]),
      [
        [null, 'pending'],
        ['service.impaired', 'degraded'],
        ['service.programmed', 'active']
      ]
    )
    const wrong = await host.cli(['actors', 'send', 'service:web', 'bogus'])
    assert.deepEqual([wrong.exit, /takes no event "bogus"/.test(wrong.err)], [2, true])
    assert.equal((await host.cli(['actors', 'inspect', 'ghost'])).exit, 4)
  })

  it('looks into the actors of another peer, and sends to them, by flag and by address', async () => {
    const there = await host.ask('GET', '/v1/actors?peer=edge-b')
    assert.deepEqual([there.status, there.json.path, there.json.children], [200, 'agent', []])
    const { json } = await host.ask('GET', `${at('agent')}?peer=${EDGE_B.slice(0, 12)}`)
    assert.equal(json.peer_id, EDGE_B)
    const drain = await host.cli(['actors', 'send', 'actor://edge-b/agent', 'agent.drain', '-j'])
    assert.equal(drain.exit, 2, 'what only the agent itself may say')
    assert.match(JSON.parse(drain.err).error.message, /^agent takes no event "agent\.drain"/)
    const inspected = await host.cli(['actors', 'inspect', 'actor://edge-b/agent'])
    assert.match(inspected.out, new RegExp(`on peer: +${EDGE_B}`))
    const tree = await host.cli(['actors', 'tree', '--peer', 'edge-b'])
    assert.match(tree.out, /^agent +running/m)
    const twice = await host.ask('GET', `${at('actor://edge-b/agent')}?peer=edge-a`)
    assert.deepEqual([twice.status, twice.json.error.code], [400, 'invalid_request'])
    for (const [path, code] of [
      [`${at('agent')}?peer=nobody`, 'peer_not_found'],
      [`${at('ghost')}?peer=edge-b`, 'not_found'],
      [at('actor://edge-c/agent'), 'peer_not_found']
    ] as const) {
      assert.equal((await host.ask('GET', path)).json.error.code, code, path)
    }
  })

  it('sends without waiting, and waits for an end', async () => {
    const { json: service } = await host.ask('POST', '/v1/services', { target_peer_id: EDGE_B, name: 'brief' })
    const path = `service:${service.id}`
    await host.ask('GET', at(path))
    const told = await host.ask('POST', `${at(path)}/events?wait=false`, { type: 'service.programmed' })
    assert.deepEqual([told.status, told.text], [202, ''])
    assert.equal((await host.ask('GET', at(path))).json.state, 'active')
    const silent = await host.cli(['actors', 'send', path, 'service.programmed', '--no-wait'])
    assert.deepEqual([silent.exit, silent.out], [5, ''], 'a refusal of the own agent is told')
    const ending = host.cli(['actors', 'watch', path, '--only', 'end', '-j'])
    await until(() => host.operator.watches === 1)
    host.operator.endService(service.id)
    assert.deepEqual((await ending).json, { path, status: 'stopped', reason: null })
    const all = await host.cli(['actors', 'watch', '--only', 'end'])
    assert.equal(all.exit, 2)
    assert.equal((await host.ask('GET', '/v1/actors/watch?only=end')).status, 400)
  })
})

async function until(check: () => boolean): Promise<void> {
  const end = performance.now() + 5_000
  while (!check()) {
    assert.ok(performance.now() < end, 'not within 5 s')
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}
