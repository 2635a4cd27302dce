import type { Context } from 'mocha'
import { Lab } from './lab.ts'
import { missingPrograms, privilege } from './privileges.ts'

/**
 * A lab for a suite's `before` hook. Where hosts cannot be made the suite is skipped with the reason, but fails in CI:
 * a suite that silently did not run proves nothing.
 */
export async function labFor(context: Context, prefix: string): Promise<Lab> {
  const found = privilege()
  const lacking = missingPrograms()
  if (found.kind !== 'root') lacking.push(found.kind === 'none' ? found.missing : 'run the tests with "npm test"')
  if (lacking.length > 0) {
    const why = lacking.join('; ')
    if (process.env['CI'] != null) throw new Error(why)
    process.stderr.write(`skipped: ${why}\n`)
    return context.skip()
  }
  return await Lab.create({ prefix })
}
