import type { DoctorJson } from '../../../actors/operator/doctor.ts'
import type { Command, Context } from '../command.ts'
import { Failure } from '../failure.ts'

export const doctorCommands: readonly Command[] = [
  {
    words: ['doctor'],
    summary:
      'Check kernel, settings, clashes with others, clock and reachability, and say how to mend each; 1 if one fails',
    examples: ['arctic doctor', 'arctic doctor -j | jq ".checks[] | select(.status != \\"ok\\")"'],
    async run(context) {
      const { api, print } = context
      const found = await api.get<DoctorJson>('/v1/doctor').catch((error: unknown) => withoutAgent(context, error))
      await print.data(found, async () => (await import('../views/doctor.ts')).doctorText(found, print.colours))
      return found.ok ? 0 : 1
    }
  }
]

/** Where no agent runs, this process looks at the host itself; what is wrong with the way to an agent is another matter. */
async function withoutAgent({ examineHost }: Context, error: unknown): Promise<DoctorJson> {
  const isAway = error instanceof Failure && ['ENOENT', 'ECONNREFUSED'].includes(String(error.details['cause']))
  if (!isAway || error.details['socket'] == null || examineHost == null) throw error
  const [found = '', mend = null] = error.message.split('; ')
  const checks: DoctorJson['checks'] = [{ name: 'agent', status: 'warn', found, mend }, ...(await examineHost())]
  return { ok: checks.every(({ status }) => status !== 'fail'), checks }
}
