import { readFile, rename, writeFile } from 'node:fs/promises'

/**
 * Replaces a JSON file as a whole, readable by its owner only: after this process was killed there is the old one or the new
 * one. It is for as long as the host runs, as what it tells of is in the kernel, so nothing waits for the disk.
 */
export async function writeConfig(path: string, text: string): Promise<void> {
  const next = `${path}.next`
  await writeFile(next, text, { mode: 0o600 })
  await rename(next, path)
}

/** The file's object, or null when there is none or it is damaged: it can be computed again. */
export async function readConfig(path: string): Promise<Record<string, unknown> | null> {
  try {
    const value: unknown = JSON.parse(await readFile(path, 'utf8'))
    return typeof value === 'object' && value != null ? (value as Record<string, unknown>) : null
  } catch (error) {
    if (error instanceof SyntaxError || (error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  }
}
