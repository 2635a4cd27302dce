import assert from 'node:assert/strict'
import { systemClock } from '../../src/clock.ts'
import { nft } from '../../src/dataplane/nft.ts'
import { CHANGES, NftSession, TABLES } from '../../src/dataplane/nft-session.ts'
import { Namespace, needsKernel } from './support/namespace.ts'

describe('dataplane/nft-session', function () {
  this.timeout(10_000)
  const session = new NftSession(systemClock)
  before(needsKernel)
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

  it('changes what it is told to, whole or not at all, and says why not', async () => {
    const ns = new Namespace()
    const changes = new NftSession(systemClock, {
      ...CHANGES,
      argv: ['ip', 'netns', 'exec', ns.name, ...CHANGES.argv]
    })
    try {
      await nft.change(changes, ['add table inet arctic', 'add chain inet arctic c', 'add rule inet arctic c drop'])
      const refused = ['add chain inet arctic d', 'add rule inet arctic c goto nowhere']
      await assert.rejects(nft.change(changes, refused), /No such file or directory/)
      await nft.change(changes, ['add chain inet arctic e'])
      const listing = ns.run('nft', 'list', 'table', 'inet', 'arctic')
      assert.match(listing, /chain c \{\s+drop\s+\}\s+chain e \{/)
    } finally {
      await changes.close()
      ns.remove()
    }
  })

  it('lists a table as a file would have it, again and again', async () => {
    const ns = new Namespace()
    const listings = new NftSession(systemClock, { ...TABLES, argv: ['ip', 'netns', 'exec', ns.name, ...TABLES.argv] })
    try {
      assert.equal(await nft.listing(listings), '')
      ns.run(
        'nft',
        'add table inet arctic; add chain inet arctic c; add counter inet arctic n; add rule inet arctic c drop'
      )
      const first = await nft.listing(listings)
      assert.equal(first, ns.run('nft', '-s', 'list', 'table', 'inet', 'arctic').trimEnd())
      assert.equal(await nft.listing(listings), first)
      ns.run('nft', 'flush chain inet arctic c')
      assert.notEqual(await nft.listing(listings), first)
    } finally {
      await listings.close()
      ns.remove()
    }
  })

  it('ends one whose answer has no end', async () => {
    const endless = new NftSession(systemClock, { argv: ['yes', 'x'.repeat(60_000)], isLast: () => false })
    await assert.rejects(endless.ask('list tables'), /nft: it says too much/)
    await endless.close()
  })

  it('goes on when nft has ended', async () => {
    const [ended, next] = await askAll('quit', 'list tables')
    assert.match(ended!, /nft: it has ended/)
    assert.ok('nftables' in JSON.parse(next!))
  })
})
