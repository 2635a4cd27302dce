import type { PeerJson } from '../../../actors/operator/operator.ts'
import type { Command } from '../command.ts'
import { listFlags, printList } from '../watch.ts'

export const peerCommands: readonly Command[] = [
  {
    words: ['peers', 'list'],
    kind: 'peer',
    summary: 'List admitted peers',
    flags: [{ name: 'all', kind: 'boolean', field: 'all', help: 'discovered and revoked peers too' }, ...listFlags],
    async run(context, { flags, fields }) {
      const { api, print, clock } = context
      await printList(context, {
        watch: flags['watch'] === true,
        types: 'peer.*,cluster.*',
        read: () => api.get<PeerJson[]>('/v1/peers', { query: fields }),
        text: async (peers) => (await import('../views/peer.ts')).peersText(peers, clock.now(), print)
      })
    }
  },
  {
    words: ['peers', 'get'],
    kind: 'peer',
    summary: 'Show one peer',
    args: [{ name: 'PEER', help: 'id, unique start of an id, or name', live: 'peer' }],
    async run({ api, print, clock }, { args: { PEER = '' } }) {
      const peer = await api.get<PeerJson>(`/v1/peers/${encodeURIComponent(PEER)}`)
      await print.data(peer, async () => (await import('../views/peer.ts')).peerText(peer, clock.now(), print.colours))
    }
  }
]
