import type { TokenJson } from '../../../actors/operator/tokens.ts'
import { age, duration } from '../humane.ts'
import { type Cell, table, type TableOptions } from '../table.ts'

export function tokensText(tokens: readonly TokenJson[], now: number, { wide, colours }: TableOptions): string {
  return table(
    ['ID', 'NAME', 'SCOPES', 'AGE', 'ENDS IN', ...(wide ? ['CREATED', 'EXPIRES'] : [])],
    tokens.map((token): Cell[] => [
      token.id,
      token.name,
      token.scopes.join(','),
      age(token.created_at, now),
      token.expired ? { text: 'expired', colour: 'red' } : duration((Date.parse(token.expires_at) - now) / 1000),
      ...(wide ? [token.created_at, token.expires_at] : [])
    ]),
    colours
  )
}
