import type { NewTokenJson, TokenJson } from '../../../actors/operator/tokens.ts'
import type { Command } from '../command.ts'
import { usageFailure } from '../failure.ts'
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
        required: true,
        help: 'what it may do: RESOURCE.read, RESOURCE.write (which includes read) or admin; see "explain token"'
      },
      { name: 'ttl', kind: 'duration', placeholder: 'DURATION', field: 'ttl_seconds', help: 'how long it works (90d)' },
      { name: 'name', kind: 'text', placeholder: 'NAME', field: 'name', help: 'what the history calls it (made up)' }
    ],
    examples: [
      'arctic tokens create --scope services.write,routes.write --name ci --ttl 30d',
      'ARCTIC_TOKEN=$(arctic tokens create --scope admin) arctic --api https://edge-a:8080 status'
    ],
    async run({ api, print }, { flags, fields }) {
      const scopes = String(flags['scope'])
        .split(',')
        .map((scope) => scope.trim())
      if (scopes.includes('')) throw usageFailure('--scope has an empty scope in it', 'tokens create')
      const made = await api.post<NewTokenJson>('/v1/tokens', { ...fields, scopes })
      await print.data(made, () => {
        print.remark(`token ${made.id} (${made.name}): ${made.scopes.join(', ')}, until ${made.expires_at}; shown once`)
        return `${made.token}\n`
      })
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
    flags: [{ name: 'yes', short: 'y', kind: 'boolean', help: 'do not ask' }],
    async run({ api, print, confirm }, { args: { ID = '' }, flags }) {
      if (flags['yes'] !== true && !(await confirm(`Revoke token ${ID}?`, `token ${ID} stays`))) return
      await api.delete(`/v1/tokens/${encodeURIComponent(ID)}`)
      await print.data({ id: ID, revoked: true }, () => `token ${ID} revoked\n`)
    }
  }
]
