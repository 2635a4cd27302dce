import type { Command, Context } from '../command.ts'
import type { ContextFile, SavedContext } from '../contexts.ts'
import { Failure, usageFailure } from '../failure.ts'

const NAME = { name: 'NAME', help: 'name of a context', live: 'context' } as const

/** Agents by name. None of these asks an agent for anything. */
export const contextCommands: readonly Command[] = [
  {
    words: ['context', 'list'],
    local: true,
    summary: 'List the agents that this user has named; * is the one in use',
    async run(context) {
      const { current, contexts } = (await load(context)).file
      const rows = Object.entries(contexts).map(([name, saved]) => ({
        name,
        current: name === current,
        socket: saved.socket ?? null,
        api: saved.api ?? null,
        fingerprint: saved.fingerprint ?? null,
        has_token: saved.token != null
      }))
      const { print } = context
      await print.data(rows, async () => {
        const { table } = await import('../table.ts')
        return table(
          ['', 'NAME', 'AGENT', 'TOKEN', ...(print.wide ? ['FINGERPRINT'] : [])],
          rows.map((row) => [
            row.current ? '*' : '',
            row.name,
            row.api ?? row.socket ?? '-',
            row.has_token ? 'yes' : 'no',
            ...(print.wide ? [row.fingerprint ?? '-'] : [])
          ]),
          print.colours
        )
      })
    }
  },
  {
    words: ['context', 'add'],
    local: true,
    summary: 'Name the agent of --socket or --api (with --token, --fingerprint), and use it if it is the first',
    args: [NAME],
    examples: [
      'arctic context add lab --socket /tmp/lab.sock',
      'arctic context add paris --api https://edge-a:8080 --fingerprint AB:CD:… --token - < token-file'
    ],
    async run(context, { args: { NAME: name = '' } }) {
      const saved = await describe(context)
      if (saved == null) return
      const { path, file, save } = await load(context)
      const known = name in file.contexts
      file.contexts[name] = saved
      file.current ??= name
      await save()
      await said(context, { name, ...shown(saved) }, `context ${name} ${known ? 'replaced' : 'added'} in ${path}\n`)
    }
  },
  {
    words: ['context', 'use'],
    local: true,
    summary: 'Ask the agent of this context from now on',
    args: [NAME],
    async run(context, { args: { NAME: name = '' } }) {
      const { file, save } = await load(context)
      checkKnown(file, name)
      file.current = name
      await save()
      await said(context, { name, current: true }, `context ${name} is in use\n`)
    }
  },
  {
    words: ['context', 'remove'],
    local: true,
    summary: 'Forget a context, its token and fingerprint',
    args: [NAME],
    async run(context, { args: { NAME: name = '' } }) {
      const { file, save } = await load(context)
      checkKnown(file, name)
      delete file.contexts[name]
      if (file.current === name) file.current = null
      await save()
      await said(context, { name, removed: true }, `context ${name} removed\n`)
    }
  }
]

async function load({ env }: Context): Promise<{ path: string; file: ContextFile; save: () => Promise<void> }> {
  const { contextPath, readContextFile, writeContextFile } = await import('../contexts.ts')
  const path = contextPath(env)
  if (path == null)
    throw usageFailure('contexts are kept in the home directory; set HOME or XDG_CONFIG_HOME', 'context')
  const file = await readContextFile(path)
  return { path, file, save: () => writeContextFile(path, file) }
}

function checkKnown({ contexts }: ContextFile, name: string): void {
  if (name in contexts) return
  throw new Failure('not_found', `there is no context "${name}"; see "arctic context list"`)
}

/** What is to be saved; null when the operator does not trust the certificate. */
async function describe(context: Context): Promise<SavedContext | null> {
  const { globals } = context
  const flag = (name: string): string | undefined => globals[name] as string | undefined
  const [socket, api] = [flag('socket'), flag('api')]
  if ((socket == null) === (api == null)) throw usageFailure('give --socket PATH or --api URL', 'context add')
  if (api == null) {
    if (flag('token') != null) throw usageFailure('--token is for --api URL; the socket needs none', 'context add')
    return { socket }
  }
  const { readFingerprint, readUrl } = await import('../target.ts')
  const url = readUrl(api)
  const token = flag('token') === '-' ? String(await context.readInput()).trim() : flag('token')
  const pinned = flag('fingerprint')
  const fingerprint = pinned == null ? await ask(context, url) : readFingerprint(pinned)
  if (fingerprint === null) return null
  return { api: url.href, token, fingerprint }
}

/** The fingerprint to pin; undefined where none is needed, null for a certificate that is not trusted. */
async function ask(context: Context, url: URL): Promise<string | undefined | null> {
  if (url.protocol !== 'https:') return undefined
  const [{ lookAt }, { explainUnreachable }] = await Promise.all([import('../pinned.ts'), import('../unreachable.ts')])
  const target = { kind: 'url', url, token: null, fingerprint: null } as const
  const { fingerprint, trusted } = await lookAt(url, context.signal).catch((error: NodeJS.ErrnoException) => {
    throw explainUnreachable(error, target)
  })
  if (trusted) return undefined
  if (!context.terminal) {
    throw usageFailure(
      `${url.host} has a certificate that only its fingerprint vouches for; compare ${fingerprint} with "arctic status" on its host, then add --fingerprint ${fingerprint}`,
      'context add'
    )
  }
  const question = `The certificate of ${url.host} has the fingerprint ${fingerprint}. Does "arctic status" on its host show the same?`
  return (await context.confirm(question, 'nothing was saved')) ? fingerprint : null
}

const shown = ({ token, ...rest }: SavedContext): object => ({ ...rest, has_token: token != null })

const said = ({ print }: Context, value: object, text: string): Promise<void> => print.data(value, () => text)
