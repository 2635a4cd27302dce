import type { PastPeerJson, PeerJson, StatusJson } from '../../../actors/operator/operator.ts'
import type { Command, Context, Input } from '../command.ts'
import { atFlag, momentOf } from '../moment.ts'
import { change, judge, waitFlag, withWait } from '../wait.ts'
import { listFlags, printList } from '../watch.ts'

const PEER = { name: 'PEER', help: 'id, unique start of an id, or name', live: 'peer' } as const

export const peerCommands: readonly Command[] = [
  {
    words: ['peers', 'list'],
    kind: 'peer',
    summary: 'List admitted peers',
    flags: [
      { name: 'all', kind: 'boolean', field: 'all', help: 'discovered and revoked peers too' },
      atFlag,
      ...listFlags
    ],
    async run(context, { flags, fields }) {
      const { api, print, clock } = context
      const moment = momentOf(flags, clock.now(), 'peers list')
      await printList(context, {
        watch: flags['watch'] === true,
        types: 'peer.*,cluster.*',
        read: () => api.get<Array<PeerJson | PastPeerJson>>('/v1/peers', { query: { ...fields, ...moment } }),
        text: async (peers) => (await import('../views/peer.ts')).peersText(peers, clock.now(), print)
      })
    }
  },
  {
    words: ['peers', 'get'],
    kind: 'peer',
    summary: 'Show one peer',
    args: [PEER],
    async run(context, { args }) {
      await printPeer(context, await context.api.get<PeerJson>(peerPath(args)))
    }
  },
  {
    words: ['peers', 'rename'],
    kind: 'peer',
    summary: 'Give a member another name; it keeps it, whatever --name its agent is started with',
    args: [PEER, { name: 'NAME', help: 'unique among the members' }],
    examples: ['arctic peers rename edge-b branch-office'],
    flags: [waitFlag],
    run: (context, input) => update(context, input, { name: input.args['NAME'] })
  },
  {
    words: ['peers', 'role'],
    kind: 'peer',
    summary: 'Make a peer an admin, which changes everything, or a member, which reads and carries traffic',
    args: [PEER, { name: 'ROLE', help: 'member or admin', choices: ['member', 'admin'] }],
    examples: ['arctic peers role edge-b member'],
    flags: [waitFlag],
    run: (context, input) => update(context, input, { role: input.args['ROLE'] })
  },
  {
    words: ['peers', 'rotate-keys'],
    kind: 'peer',
    summary: 'Change the keys of the data planes of a peer, this one unless another is named; no flow notices',
    args: [{ ...PEER, optional: true }],
    flags: [waitFlag],
    examples: ['arctic peers rotate-keys --wait', 'arctic peers rotate-keys edge-b'],
    async run(context, { args, flags }) {
      const { api } = context
      const peer = args['PEER'] ?? (await api.get<StatusJson>('/v1/status')).peer.id
      const path = `${peerPath({ PEER: peer })}/rotate-keys`
      const { body, wait } = await change<PeerJson>(api, 'POST', path, { flags })
      await printPeer(context, body)
      judge(context, wait)
    }
  },
  {
    words: ['peers', 'revoke'],
    kind: 'peer',
    summary: 'Throw a peer out of the cluster, for good: nobody talks to it or carries its traffic any more',
    args: [PEER],
    flags: [{ name: 'yes', short: 'y', kind: 'boolean', help: 'do not ask' }, waitFlag],
    examples: ['arctic peers revoke edge-b --yes --wait'],
    async run(context, { args, flags }) {
      const { api, confirm, terminal } = context
      // Only `delete` refuses where nobody can be asked; a script that says revoke means it.
      if (terminal && flags['yes'] !== true) {
        const { id, name } = await api.get<PeerJson>(peerPath(args))
        const who = name == null ? id : `${name} (${id})`
        if (!(await confirm(`Revoke peer ${who} for good? Its services stop.`, 'nothing was revoked'))) return
      }
      const { wait } = await change(api, 'DELETE', peerPath(args), { flags })
      await printPeer(context, withWait(await api.get<PeerJson>(peerPath(args)), wait))
      judge(context, wait)
    }
  }
]

const peerPath = ({ PEER: peer = '' }: Readonly<Record<string, string>>): string =>
  `/v1/peers/${encodeURIComponent(peer)}`

async function update(context: Context, { args, flags }: Input, body: object): Promise<void> {
  const { body: peer, wait } = await change<PeerJson>(context.api, 'PUT', peerPath(args), { body, flags })
  await printPeer(context, peer)
  judge(context, wait)
}

async function printPeer({ print, clock }: Context, peer: PeerJson): Promise<void> {
  await print.data(peer, async () => (await import('../views/peer.ts')).peerText(peer, clock.now(), print.colours))
}
