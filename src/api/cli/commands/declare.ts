import type { Applied } from '../../declare/applier.ts'
import type { MeshFile } from '../../declare/mesh-file.ts'
import type { Command, Context, Flag, FlagValue } from '../command.ts'
import { usageFailure } from '../failure.ts'
import { longRequestTimeoutMs } from '../limits.ts'
import { change, judge, waitFlag } from '../wait.ts'

const file: Flag = {
  name: 'file',
  short: 'f',
  kind: 'text',
  placeholder: 'FILE',
  live: 'file',
  help: 'YAML or JSON as "arctic export" prints it; - is stdin'
}
const prune: Flag = { name: 'prune', kind: 'boolean', help: 'delete services that the file does not name' }

export const declareCommands: readonly Command[] = [
  {
    words: ['apply'],
    summary: 'Bring services and routes to what a file says, all or nothing',
    flags: [
      file,
      { name: 'dry-run', kind: 'boolean', help: 'show what would change, and change nothing' },
      prune,
      {
        name: 'confirm-within',
        kind: 'duration',
        placeholder: 'DURATION',
        help: 'take it back unless "arctic confirm" comes in time, even if this connection is lost'
      },
      { name: 'confirm', kind: 'boolean', help: 'the same as "arctic confirm"' },
      { name: 'yes', short: 'y', kind: 'boolean', help: 'do not ask before services or routes are deleted' },
      waitFlag
    ],
    examples: [
      'arctic export > mesh.yaml',
      'arctic apply -f mesh.yaml --dry-run --prune',
      'arctic apply -f mesh.yaml --confirm-within 60s && arctic routes list && arctic confirm'
    ],
    async run(context, { flags }) {
      if (flags['confirm'] === true) {
        if (flags['file'] != null) throw usageFailure('--confirm confirms the last apply and takes no file', 'apply')
        return confirmApply(context)
      }
      const mesh = await readMesh(context, flags['file'], 'apply')
      const wish = { ...mesh, ...(flags['prune'] === true ? { prune: true } : {}) }
      const dryRun = flags['dry-run'] === true
      if (!dryRun && flags['yes'] !== true && context.terminal) {
        const deletes = (await post(context, { ...wish, dry_run: true })).changes.filter(
          ({ action }) => action === 'delete'
        )
        const what = deletes.map(({ kind, service }) => (kind === 'service' ? service : `a route of ${service}`))
        if (what.length > 0 && !(await context.confirm(`Delete ${listed(what)}?`))) return
      }
      const within = flags['confirm-within']
      const body = {
        ...wish,
        ...(dryRun ? { dry_run: true } : {}),
        ...(within == null || dryRun ? {} : { confirm_within_seconds: within })
      }
      const options = { body, flags, timeoutMs: longRequestTimeoutMs }
      const { body: applied, wait } = await change<Applied>(context.api, 'POST', '/v1/apply', options)
      await printApplied(context, applied)
      judge(context, wait)
    }
  },
  {
    words: ['diff'],
    summary: 'What apply would change; the same as apply --dry-run',
    flags: [file, prune],
    examples: ['arctic diff -f mesh.yaml --prune'],
    async run(context, { flags }) {
      const mesh = await readMesh(context, flags['file'], 'diff')
      await printApplied(context, await post(context, { ...mesh, prune: flags['prune'] === true, dry_run: true }))
    }
  },
  {
    words: ['export'],
    summary: 'Print all services and routes as a file that apply takes',
    examples: ['arctic export > mesh.yaml'],
    async run({ api, print }) {
      const mesh = await api.get<MeshFile>('/v1/export')
      // Its form for people is the file itself.
      await print.data(mesh, async () => (await import('yaml')).stringify(mesh))
    }
  },
  {
    words: ['confirm'],
    summary: 'Keep what "apply --confirm-within" did',
    run: (context) => confirmApply(context)
  }
]

const post = ({ api }: Context, body: object): Promise<Applied> =>
  api.post<Applied>('/v1/apply', body, { timeoutMs: longRequestTimeoutMs })

async function confirmApply({ api, print }: Context): Promise<void> {
  const answer = await api.post<{ confirmed: number }>('/v1/apply/confirm', {})
  await print.data(answer, () => `confirmed: ${answer.confirmed} ${answer.confirmed === 1 ? 'change' : 'changes'}\n`)
}

async function printApplied({ print }: Context, applied: Applied): Promise<void> {
  await print.data(applied, async () => (await import('../views/applied.ts')).appliedText(applied, print.colours))
}

async function readMesh(context: Context, path: FlagValue | undefined, help: string): Promise<object> {
  if (typeof path !== 'string' || path === '') throw usageFailure('--file FILE is missing', help)
  const { readMeshFile } = await import('../mesh-file.ts')
  return readMeshFile(path, () => context.readInput())
}

const SHOWN = 5

const listed = (what: readonly string[]): string =>
  what.length <= SHOWN ? what.join(', ') : `${what.slice(0, SHOWN).join(', ')} and ${what.length - SHOWN} more`
