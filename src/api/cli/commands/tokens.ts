import type { NewTokenJson, TokenJson } from '../../../actors/operator/tokens.ts'
import type { Command } from '../command.ts'
import { usageFailure } from '../failure.ts'
import { change, judge, waitFlag, withWait } from '../wait.ts'
import { listFlags, printList } from '../watch.ts'

export const tokenCommands: readonly Command[] = [
  {
    words: ['tokens', 'create'],
    kind: 'token',
    summary: 'Make a token for --api and print its secret, which is shown once',
    flags: [
      {
        name: 'scope',
        kind: 'text',
        placeholder: 'SCOPE[,SCOPE]',
        live: 'scope',
        many: true,
        required: true,
        help: 'what it may do: RESOURCE.read, RESOURCE.write (which includes read) or admin; see "explain token"'
      },
      { name: 'ttl', kind: 'duration', placeholder: 'DURATION', field: 'ttl_seconds', help: 'how long it works (90d)' },
      { name: 'name', kind: 'text', placeholder: 'NAME', field: 'name', help: 'what the history calls it (made up)' },
      waitFlag
    ],
    examples: [
      'arctic tokens create --scope services.write,routes.write --name ci --ttl 30d',
      'ARCTIC_TOKEN=$(arctic tokens create --scope admin) arctic --api https://edge-a:8080 status'
    ],
    async run(context, { flags, fields }) {
      const { api, print } = context
      const scopes = String(flags['scope'])
        .split(',')
        .map((scope) => scope.trim())
      if (scopes.includes('')) throw usageFailure('--scope has an empty scope in it', 'tokens create')
      const options = { body: { ...fields, scopes }, flags }
      const { body: made, wait } = await change<NewTokenJson>(api, 'POST', '/v1/tokens', options)
      await print.data(made, () => {
        print.remark(`token ${made.id} (${made.name}): ${made.scopes.join(', ')}, until ${made.expires_at}; shown once`)
        return `${made.token}\n`
      })
      judge(context, wait)
    }
  },
  {
    words: ['tokens', 'list'],
    kind: 'token',
    summary: 'List tokens, without their secrets',
    flags: listFlags,
    async run(context, { flags, fields }) {
      const { api, print, clock } = context
      await printList(context, {
        watch: flags['watch'] === true,
        types: 'token.*,cluster.*',
        read: () => api.list<TokenJson>('/v1/tokens', { query: fields }),
        text: async (tokens) => (await import('../views/token.ts')).tokensText(tokens, clock.now(), print)
      })
    }
  },
  {
    words: ['tokens', 'revoke'],
    kind: 'token',
    summary: 'Revoke a token; it stops working at each peer that hears of it',
    args: [{ name: 'ID', help: 'id of a token, see "arctic tokens list"', live: 'token' }],
    flags: [{ name: 'yes', short: 'y', kind: 'boolean', help: 'do not ask' }, waitFlag],
    async run(context, { args: { ID = '' }, flags }) {
      const { api, print, confirm, terminal } = context
      if (terminal && flags['yes'] !== true && !(await confirm(`Revoke token ${ID}?`, `token ${ID} stays`))) return
      const { wait } = await change(api, 'DELETE', `/v1/tokens/${encodeURIComponent(ID)}`, { flags })
      await print.data(withWait({ id: ID, revoked: true }, wait), () => `token ${ID} revoked\n`)
      judge(context, wait)
    }
  }
]
