import { fstatSync } from 'node:fs'
import { open, type FileHandle } from 'node:fs/promises'
import type { Clock } from '../clock.ts'
import type { Logger } from '../log.ts'
import type { EngineName } from './engine-protocol.ts'
import { engineLogBytesMax, engineLogLineBytesMax, engineLogPollMs } from './limits.ts'

/**
 * Hands an engine's log lines on to the agent's log. The engine appends to a file, because it outlives the agent and must not
 * die of a broken pipe; the agent reads what is new and empties the file when it has grown. Appending writers
 * (O_APPEND) go on at the new end.
 *
 * @returns reads what is left and ends
 */
export async function tailEngineLog(
  path: string,
  engine: EngineName,
  clock: Clock,
  log: Logger
): Promise<() => Promise<void>> {
  const out = log.module(engine)
  const file = await open(path, 'a+', 0o600)
  let offset = (await file.stat()).size
  let rest = ''
  let reading: Promise<void> = Promise.resolve()

  const readNew = async (): Promise<void> => {
    const buffer = Buffer.alloc(64 * 1024)
    const { size } = await file.stat()
    if (size < offset) offset = 0
    for (;;) {
      const { bytesRead } = await file.read(buffer, 0, buffer.length, offset)
      if (bytesRead === 0) break
      offset += bytesRead
      const lines = (rest + buffer.toString('utf8', 0, bytesRead)).split('\n')
      rest = (lines.pop() ?? '').slice(0, engineLogLineBytesMax)
      for (const line of lines) passOn(line, out)
    }
    if (offset > engineLogBytesMax) offset = await empty(file)
  }
  const poll = clock.every(engineLogPollMs, () => {
    if (sizeOf(file) === offset) return
    reading = reading
      .then(readNew)
      .catch((error: unknown) => out.warn({ error: String(error) }, 'engine log cannot be read'))
  })
  return async () => {
    poll.cancel()
    await reading
    await readNew().catch(() => {})
    await file.close()
  }
}

/** Asked on this thread, which takes microseconds: asked of libuv's, an idle agent woke mostly for this. null: not known. */
function sizeOf({ fd }: FileHandle): number | null {
  try {
    return fstatSync(fd).size
  } catch {
    return null
  }
}

async function empty(file: FileHandle): Promise<number> {
  await file.truncate(0)
  return 0
}

const LEVELS = ['trace', 'debug', 'info', 'warn', 'error'] as const

/** A structured line keeps its level and fields; anything else (a panic's text) is worth a warning. */
function passOn(line: string, out: Logger): void {
  if (line.trim() === '') return
  try {
    const { level, message, module: _, time: engineTime, ...fields } = JSON.parse(line) as Record<string, unknown>
    const known = LEVELS.find((name) => name === level) ?? 'info'
    out[known]({ ...fields, engine_time: engineTime }, String(message))
  } catch {
    out.warn({}, line.slice(0, engineLogLineBytesMax))
  }
}
