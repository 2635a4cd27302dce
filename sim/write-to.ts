import { writeFile } from 'node:fs/promises'
import { usageFailure } from '../src/api/cli/failure.ts'

/** A file that somebody named; `help` is the command that it was named to. */
export async function writeTo(path: string, text: string, help: string): Promise<void> {
  try {
    await writeFile(path, text)
  } catch (error) {
    const { code = 'unknown' } = error as NodeJS.ErrnoException
    throw usageFailure(`${path} cannot be written (${code}); check the path`, help)
  }
}
