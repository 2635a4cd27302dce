import type { ClusterJson, LeaveJson, SyncJson } from '../../../actors/operator/operator.ts'
import type { Command, Input } from '../command.ts'
import { usageFailure } from '../failure.ts'
import { longRequestTimeoutMs } from '../limits.ts'
import { change, judge, waitFlag, withWait } from '../wait.ts'

export const clusterCommands: readonly Command[] = [
  {
    words: ['cluster', 'init'],
    kind: 'cluster',
    summary: 'Make a new cluster with this peer as its first admin',
    flags: [{ name: 'name', kind: 'text', placeholder: 'NAME', field: 'name', help: 'name of the cluster' }],
    examples: ['arctic cluster init --name offices'],
    async run({ api, print }, { fields }) {
      const cluster = await api.post<ClusterJson>('/v1/cluster/init', fields)
      await print.data(cluster, async () => (await import('../views/cluster.ts')).clusterText(cluster, print.colours))
    }
  },
  {
    words: ['cluster', 'invite'],
    summary: 'Print a token by which another peer can join',
    flags: [
      { name: 'ttl', kind: 'duration', placeholder: 'DURATION', field: 'ttl_seconds', help: 'how long it works (1h)' },
      { name: 'uses', kind: 'integer', placeholder: 'N', field: 'uses', help: 'how many peers may join by it (1)' },
      {
        name: 'role',
        kind: ['member', 'admin'],
        field: 'role',
        help: 'what they become (admin); a member reads and carries traffic, and changes nothing'
      }
    ],
    examples: [
      'arctic cluster invite --ttl 15m',
      'ssh edge-b arctic cluster join $(arctic cluster invite)',
      'arctic cluster invite --role member'
    ],
    async run({ api, print }, { fields }) {
      const invite = await api.post<{ token: string }>('/v1/cluster/invites', fields)
      await print.data(invite, () => `${invite.token}\n`)
    }
  },
  {
    words: ['cluster', 'join'],
    kind: 'cluster',
    summary: 'Join a cluster; waits until this peer is admitted and synced',
    args: [{ name: 'TOKEN', help: 'what "arctic cluster invite" printed; - reads it from stdin' }],
    examples: ['arctic cluster join TOKEN', 'arctic cluster join - < token-file'],
    async run({ api, print, readInput }, { args }) {
      const token = args['TOKEN'] === '-' ? String(await readInput()).trim() : args['TOKEN']
      if (token === '') throw usageFailure('stdin held no token', 'cluster join')
      const cluster = await api.post<ClusterJson>('/v1/cluster/join', { token }, { timeoutMs: longRequestTimeoutMs })
      await print.data(cluster, async () => (await import('../views/cluster.ts')).clusterText(cluster, print.colours))
    }
  },
  {
    words: ['cluster', 'leave'],
    kind: 'cluster',
    summary: 'Leave the cluster: the others forget this peer, its services stop, and it may found or join another one',
    flags: [{ name: 'yes', short: 'y', kind: 'boolean', help: 'do not ask' }],
    async run({ api, print, confirm, terminal }, { flags }) {
      // As for `peers revoke`: asks where somebody sits there.
      if (terminal && flags['yes'] !== true) {
        const { name, members } = await api.get<ClusterJson>('/v1/cluster')
        const question = `Leave cluster ${name} of ${members.length} members? Services from and to this peer stop.`
        if (!(await confirm(question, 'this peer has not left'))) return
      }
      const left = await api.post<LeaveJson>('/v1/cluster/leave', {})
      await print.data(left, async () => (await import('../views/cluster.ts')).leaveText(left))
      const { missed } = left
      if (missed.length === 0) return
      const names = missed.map(({ name }) => name).join(', ')
      print.remark(
        left.told.length > 0
          ? `not reached: ${names}; the others tell them`
          : `nobody was reached (${names}); run "arctic peers revoke" on one of them, which takes this peer for a member still`
      )
    }
  },
  {
    words: ['cluster', 'status'],
    kind: 'cluster',
    summary: 'Members, reachability, agreement and propagation',
    async run({ api, print }) {
      const cluster = await api.get<ClusterJson>('/v1/cluster')
      await print.data(cluster, async () => (await import('../views/cluster.ts')).clusterText(cluster, print.colours))
    }
  },
  {
    words: ['cluster', 'policy'],
    summary: 'Show what the cluster allows itself, or set it',
    flags: [
      {
        name: 'max-services',
        kind: 'text',
        placeholder: 'N|none',
        help: 'no more services are created while there are so many'
      },
      waitFlag
    ],
    examples: ['arctic cluster policy --max-services 500', 'arctic cluster policy --max-services none'],
    async run(context, { flags }) {
      const { api, print } = context
      const policy = readPolicy(flags)
      const { body: cluster, wait } =
        policy == null
          ? { body: await api.get<ClusterJson>('/v1/cluster'), wait: null }
          : await change<ClusterJson>(api, 'PUT', '/v1/cluster', { body: { policy }, flags })
      const shown = withWait(cluster.policy, wait)
      await print.data(shown, () => `services: ${cluster.policy.max_services ?? 'no limit'}\n`)
      judge(context, wait)
    }
  },
  {
    words: ['cluster', 'sync'],
    summary: 'Pull state from every reachable peer and re-apply kernel state now',
    async run({ api, print }) {
      const sync = await api.post<SyncJson>('/v1/cluster/sync', {}, { timeoutMs: longRequestTimeoutMs })
      await print.data(sync, async () => (await import('../views/cluster.ts')).syncText(sync, print.colours))
    }
  }
]

function readPolicy({ 'max-services': text }: Input['flags']): ClusterJson['policy'] | null {
  if (text == null) return null
  if (text === 'none') return { max_services: null }
  if (/^\d{1,9}$/.test(String(text))) return { max_services: Number(text) }
  throw usageFailure(`--max-services "${text}" is neither a whole number nor none`, 'cluster policy')
}
