import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { DiagnosticsJson } from '../../actors/operator/diagnostics.ts'
import { redact } from '../../redact.ts'
import type { Client } from './client.ts'
import { explainFailure, Failure } from './failure.ts'

/** File of the report → what it holds. */
export type Report = Map<string, string>

/** What the agent is asked, beside its diagnostics; what cannot be answered is told in `errors.txt`. */
const QUESTIONS: ReadonlyArray<readonly [file: string, path: string]> = [
  ['status.json', '/v1/status'],
  ['cluster.json', '/v1/cluster'],
  ['history.json', '/v1/cluster/history?limit=500'],
  ['peers.json', '/v1/peers?all=true'],
  ['doctor.json', '/v1/doctor'],
  ['actors.json', '/v1/actors'],
  ['activity.json', '/v1/activity'],
  ['license.json', '/v1/license']
]

/**
 * Everything that somebody who is to find out what is wrong would ask for, as text files. Each passes through `redact`,
 * whatever it is: the agent keeps secrets out of what it says, and this is for the day on which it does not.
 */
export async function collect(api: Client): Promise<Report> {
  const report: Report = new Map()
  const errors: string[] = []
  const put = (file: string, text: string): void => void report.set(file, redact(text))
  const answered = async <T>(what: string, ask: () => Promise<T>): Promise<T | null> => {
    try {
      return await ask()
    } catch (error) {
      errors.push(
        `${what}: ${error instanceof Error ? explainFailure(error, { json: false }).text.trim() : String(error)}`
      )
      return null
    }
  }
  // Asked first: without an agent there is nothing to report.
  put('status.json', pretty(await api.get('/v1/status')))
  for (const [file, path] of QUESTIONS.slice(1)) {
    const answer = await answered(path, () => api.get<unknown>(path))
    if (answer != null) put(file, pretty(answer))
  }
  for (const what of ['services', 'routes']) {
    const all = await answered(`/v1/${what}`, () => api.list(`/v1/${what}`))
    if (all != null) put(`${what}.json`, pretty(all))
  }
  const diagnostics = await answered('/v1/diagnostics', () => api.get<DiagnosticsJson>('/v1/diagnostics'))
  if (diagnostics != null) {
    const { log, traces, flight, config, versions } = diagnostics
    put('versions.json', pretty(versions))
    put('config.json', pretty(config))
    put('log.jsonl', lines(log))
    put('flight-recorder.jsonl', lines(flight.map((step) => JSON.stringify(step))))
    put('kernel.txt', traces.map(({ command, output }) => `$ ${command}\n${output.trimEnd()}\n`).join('\n'))
  }
  if (errors.length > 0) put('errors.txt', lines(errors))
  return report
}

const pretty = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`

const lines = (all: readonly string[]): string => all.map((line) => `${line}\n`).join('')

/** Writes the report as a gzipped tar that only its owner can read; it unpacks into a folder `name`. */
export async function pack(report: Report, { file, name }: { file: string; name: string }): Promise<void> {
  const scratch = await mkdtemp(join(tmpdir(), 'arctic-bugreport-'))
  try {
    await mkdir(join(scratch, name))
    for (const [path, text] of report) await writeFile(join(scratch, name, path), text)
    // Made before tar opens it, so that at no time anybody else can read it.
    await writeFile(file, '', { mode: 0o600 })
    await chmod(file, 0o600)
    await tar(['--create', '--gzip', '--owner=0', '--group=0', '--file', file, '--directory', scratch, name])
  } catch (error) {
    throw new Failure(
      'invalid_request',
      `the report cannot be written to ${file}: ${error instanceof Error ? error.message : String(error)}; choose another file with -o`
    )
  } finally {
    await rm(scratch, { recursive: true, force: true })
  }
}

/** The host's own tar: every Debian has one, and what it writes everybody can read. */
async function tar(args: string[]): Promise<void> {
  const child = spawn('tar', args, { stdio: ['ignore', 'ignore', 'pipe'] })
  let said = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text))
  const [code] = (await once(child, 'close')) as [number | null]
  if (code !== 0) throw new Error(`tar failed: ${said.trim()}`)
}
