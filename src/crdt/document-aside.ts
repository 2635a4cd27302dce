import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import type { Logger } from '../log.ts'
import type { SavedDocument } from './document.ts'
import type { PackedChanges } from './packed-changes.ts'

/** A document that is to be made: what was saved of it last, and the changes since. */
export interface Unsaved {
  genesis: Uint8Array
  saved: SavedDocument | null
  changes: PackedChanges
}

/** Makes a document and saves it, somewhere else. Rejects where Automerge does not take the changes. */
export type Saver = (document: Unsaved) => Promise<SavedDocument>

/**
 * On a thread of its own, which ends with it: a document with all that was ever written takes 0.3 to 1.5 kB for each change, and
 * memory of WebAssembly is only given back with the thread that has it.
 */
export function saveAside(document: Unsaved): Promise<SavedDocument> {
  const { promise, resolve, reject } = Promise.withResolvers<SavedDocument>()
  // Handed over, not copied: they are as long as the history, when there is no document of it yet.
  const { bytes, lengths } = document.changes
  const transferList = [bytes.buffer, lengths.buffer]
  const worker = new Worker(PROGRAM, { workerData: document, transferList, stdout: false, stderr: false })
  worker.once('message', resolve)
  worker.once('error', reject)
  worker.once('exit', (code) => reject(new Error(`the thread that saves the document ended with ${code}`)))
  // An agent that stops does not wait for it.
  worker.unref()
  return promise
}

/** The document of a fold for somebody else to make. */
export interface UnsavedFold {
  document: Unsaved
  /** Takes what came of it: true when the fold's is the same one still, which then was given those changes. */
  settle: (saved: SavedDocument) => boolean
}

/** Has `saver` make it; null when it could not, and then it is made here, by `load`. */
export async function madeAside(
  { document, settle }: UnsavedFold,
  { saver, load, log }: { saver: Saver; load: () => void; log: Logger }
): Promise<SavedDocument | null> {
  try {
    const saved = await saver(document)
    settle(saved)
    return saved
  } catch (error) {
    log.warn({ error }, 'the document could not be made on a thread of its own; it is made here')
    // What Automerge does not take is found by that, and left out.
    load()
    return null
  }
}

/** Beside this file: a source, or what `tools/bundle.ts` made of it. */
const here = fileURLToPath(import.meta.url)
const PROGRAM = join(dirname(here), here.endsWith('.ts') ? 'document-worker.ts' : 'document-worker.js')
