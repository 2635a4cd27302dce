import { mkdir, open, readFile, rename } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { parse, stringify } from 'yaml'
import { usageFailure } from './failure.ts'

/** Agents by name, as kubectl has clusters: `~/.config/arctic/contexts.yaml`, mode 0600 since it holds tokens. */
export interface ContextFile {
  current: string | null
  contexts: Record<string, SavedContext>
}

export interface SavedContext {
  socket?: string | undefined
  api?: string | undefined
  token?: string | undefined
  /** SHA-256 of the API's certificate, `AB:CD:…`. */
  fingerprint?: string | undefined
}

/** Null where nobody has a home, as under some supervisors. */
export function contextPath(env: Readonly<Record<string, string | undefined>>): string | null {
  const base = env['XDG_CONFIG_HOME'] || (env['HOME'] ? join(env['HOME'], '.config') : '')
  return base === '' ? null : join(base, 'arctic', 'contexts.yaml')
}

/** An absent file is an empty one. */
export async function readContextFile(path: string): Promise<ContextFile> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') return { current: null, contexts: {} }
    throw usageFailure(`${path} cannot be read (${code}); check its permissions`)
  }
  let content: unknown
  try {
    content = parse(text, { logLevel: 'error' })
  } catch (error) {
    throw usageFailure(`${path} is not YAML: ${(error as Error).message.split('\n')[0]}; mend or remove it`)
  }
  const { current = null, contexts = {} } = (content ?? {}) as Partial<ContextFile>
  const whole =
    isRecord(content ?? {}) &&
    (current === null || typeof current === 'string') &&
    isRecord(contexts) &&
    Object.values(contexts).every(isContext)
  if (!whole) throw usageFailure(`${path} is not a list of contexts; mend or remove it`)
  // Names are the operator's: none may be taken for a property that every object has.
  return { current, contexts: Object.assign(Object.create(null), contexts) as ContextFile['contexts'] }
}

/** Whole or not at all, and never readable by others. */
export async function writeContextFile(path: string, file: ContextFile): Promise<void> {
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 })
    const temporary = `${path}.${process.pid}.new`
    await using handle = await open(temporary, 'w', 0o600)
    await handle.writeFile(stringify({ current: file.current, contexts: { ...file.contexts } }))
    await handle.sync()
    await rename(temporary, path)
  } catch (error) {
    throw usageFailure(`${path} cannot be written (${(error as NodeJS.ErrnoException).code}); check its permissions`)
  }
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value != null && !Array.isArray(value)

const isContext = (value: unknown): boolean =>
  isRecord(value) && Object.values(value).every((field) => typeof field === 'string')
