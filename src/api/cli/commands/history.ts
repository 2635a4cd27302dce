import type { ChangeJson, EpochJson, UndoneJson, VerificationJson } from '../../../actors/operator/history-json.ts'
import type { Command, Context, Input } from '../command.ts'
import { Failure, usageFailure } from '../failure.ts'
import { longRequestTimeoutMs } from '../limits.ts'
import { timeOf } from '../moment.ts'
import { change, judge, waitFlag } from '../wait.ts'
import { listFlags, printList } from '../watch.ts'

export const historyCommands: readonly Command[] = [
  {
    words: ['cluster', 'history'],
    kind: 'change',
    summary: 'Who changed what and when, signatures verified; newest first',
    flags: [
      {
        name: 'service',
        kind: 'text',
        placeholder: 'ID',
        live: 'service',
        field: 'service',
        help: 'only this service and its routes; one that is gone by its id'
      },
      { name: 'object', kind: 'text', placeholder: 'ID', field: 'object', help: 'only this service, route or peer' },
      { name: 'author', kind: 'text', placeholder: 'PEER', live: 'peer', field: 'author', help: 'only by this peer' },
      {
        name: 'since',
        kind: 'text',
        placeholder: 'T',
        help: 'only since then: a time (2026-01-31T12:00), or so long ago (30m, 7d)'
      },
      { name: 'until', kind: 'text', placeholder: 'T', help: 'only up to then, likewise' },
      ...listFlags.map((flag) => (flag.name === 'limit' ? { ...flag, help: 'the newest N; 100' } : flag)),
      { name: 'verify', kind: 'boolean', help: 'verify all that is held, from the genesis; exit 1 when it has a flaw' }
    ],
    examples: [
      'arctic cluster history --verify',
      'arctic cluster history -n 20',
      'arctic cluster history --author edge-b --since 1d'
    ],
    async run(context, { flags, fields }) {
      if (flags['verify'] === true) return verify(context, flags)
      const { api, print, clock } = context
      const timeIn = (flag: string): string | undefined =>
        flags[flag] == null ? undefined : timeOf(flag, String(flags[flag]), clock.now(), 'cluster history')
      const query = { ...fields, since: timeIn('since'), until: timeIn('until') }
      await printList(context, {
        watch: flags['watch'] === true,
        types: 'service.*,route.*,peer.*,cluster.*',
        read: () => api.get<ChangeJson[]>('/v1/cluster/history', { query }),
        text: async (changes) => (await import('../views/history.ts')).historyText(changes, print)
      })
    }
  },
  {
    words: ['cluster', 'epoch'],
    kind: 'epoch',
    summary: 'Sign what the history has come to, so that who joins serves at once and verifies the history after that',
    examples: ['arctic cluster epoch'],
    async run({ api, print }) {
      const epoch = await api.post<EpochJson>('/v1/cluster/epoch', {}, { timeoutMs: longRequestTimeoutMs })
      await print.data(epoch, async () => (await import('../views/history.ts')).epochText(epoch, print))
    }
  },
  {
    words: ['cluster', 'undo'],
    summary:
      'Take a change of services, routes, the policy or a name of a peer back by a new one, or say what has changed since',
    args: [{ name: 'CHANGE', help: 'hash of a change or a start of it, see "arctic cluster history"', live: 'change' }],
    flags: [waitFlag],
    examples: ['arctic cluster history --service ID', 'arctic cluster undo 3f9c0a2b1d4e --wait'],
    async run(context, { args, flags }) {
      const { api, print } = context
      const options = { body: { change: args['CHANGE'] }, flags }
      const { body: undone, wait } = await change<UndoneJson>(api, 'POST', '/v1/cluster/undo', options)
      await print.data(undone, async () => (await import('../views/history.ts')).undoneText(undone, print))
      judge(context, wait)
    }
  }
]

async function verify({ api, print }: Context, flags: Input['flags']): Promise<void> {
  const other = Object.keys(flags).find((flag) => flag !== 'verify')
  if (other != null) throw usageFailure(`--verify verifies all there is; leave out --${other}`, 'cluster history')
  const options = { timeoutMs: longRequestTimeoutMs }
  const verification = await api.get<VerificationJson>('/v1/cluster/history/verify', options)
  await print.data(verification, async () =>
    (await import('../views/history.ts')).verificationText(verification, print)
  )
  const { flaw } = verification
  if (flaw == null) return
  const what = flaw.id == null ? 'the history' : `change ${flaw.id.slice(0, 12)}`
  throw new Failure(
    'internal',
    `${what} has a flaw: ${flaw.message}; stop the agent, keep its state directory, and let this host join anew`,
    { exitCode: 1, details: { ...flaw } }
  )
}
