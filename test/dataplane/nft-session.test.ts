import assert from 'node:assert/strict'
import { systemClock } from '../../src/clock.ts'
import { NftSession } from '../../src/dataplane/nft-session.ts'

describe('dataplane/nft-session', function () {
  this.timeout(10_000)
  const session = new NftSession(systemClock)
  afterEach(() => session.close())

  const askAll = async (...commands: string[]): Promise<string[]> => {
    const answers = await Promise.allSettled(commands.map((command) => session.ask(command)))
    return answers.map((answer) => (answer.status === 'fulfilled' ? answer.value : String(answer.reason)))
  }

  it('answers many questions in their order, a refusal in its place', async () => {
    const none = 'list counters table inet arctic_no_such_table'
    const [first, refused, third, nonsense, last] = await askAll('list tables', none, 'list tables', 'x', 'list tables')
    for (const answer of [first, third, last]) assert.ok('nftables' in JSON.parse(answer!))
    assert.match(refused!, /No such file or directory/)
    assert.match(nonsense!, /syntax error/)
  })

  it('goes on when nft has ended', async () => {
    const [ended, next] = await askAll('quit', 'list tables')
    assert.match(ended!, /nft: it has ended/)
    assert.ok('nftables' in JSON.parse(next!))
  })
})
