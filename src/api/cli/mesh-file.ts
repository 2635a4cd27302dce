import { readFile, stat } from 'node:fs/promises'
import { parseDocument } from 'yaml'
import { meshBodyBytesMax } from '../declare/limits.ts'
import { utf8Text } from '../../utf8.ts'
import { usageFailure } from './failure.ts'

/** A file with `services:`, as YAML (JSON is YAML too). What stands in it is checked by the agent. */
export async function readMeshFile(path: string, readInput: () => Promise<Uint8Array>): Promise<object> {
  const text = path === '-' ? decode(await readInput(), 'stdin') : await read(path)
  const where = path === '-' ? 'stdin' : path
  const document = parseDocument(text, { logLevel: 'error' })
  const [error] = document.errors
  if (error?.code === 'MULTIPLE_DOCS') throw usageFailure(`${where} holds several documents; give one at a time`)
  if (error != null) throw usageFailure(`${where} is not YAML: ${error.message.split('\n')[0]}`)
  let mesh: unknown
  try {
    mesh = document.toJS()
    // An alias of what it stands in has no end.
    JSON.stringify(mesh)
  } catch (failure) {
    // Aliases that would grow without end.
    throw usageFailure(`${where} cannot be read: ${(failure as Error).message}`)
  }
  if (typeof mesh !== 'object' || mesh == null || Array.isArray(mesh) || !('services' in mesh)) {
    throw usageFailure(`${where} has no list "services:"; "arctic export" shows the form`)
  }
  // An empty list is written `services:` too.
  return mesh.services == null ? { ...mesh, services: [] } : mesh
}

/** Nothing is guessed: a name with a replaced letter would be another name. */
function decode(bytes: Uint8Array, where: string): string {
  const text = utf8Text(bytes)
  if (text == null) throw usageFailure(`${where} is not UTF-8; save it so`)
  return text
}

async function read(path: string): Promise<string> {
  try {
    const { size } = await stat(path)
    if (size > meshBodyBytesMax) throw usageFailure(`${path} has more than ${meshBodyBytesMax} bytes; split it`)
    return decode(await readFile(path), path)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (error instanceof Error && 'exitCode' in error) throw error
    throw usageFailure(`${path} cannot be read (${code ?? 'unknown'}); check the path`)
  }
}
