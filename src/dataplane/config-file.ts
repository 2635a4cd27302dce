import { open, readFile, rename } from 'node:fs/promises'

/** Replaces a JSON file as a whole, readable by its owner only: after a crash there is the old one or the new one. */
export async function writeConfig(path: string, value: object): Promise<void> {
  const next = `${path}.next`
  const file = await open(next, 'w', 0o600)
  try {
    await file.writeFile(`${JSON.stringify(value, null, 2)}\n`)
    await file.sync()
  } finally {
    await file.close()
  }
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
