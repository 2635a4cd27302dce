import { parentPort, workerData } from 'node:worker_threads'
import { Document } from './document.ts'
import type { Unsaved } from './document-aside.ts'
import { unpacked } from './packed-changes.ts'

/**
 * Makes the document of some changes and hands over what is saved of it: the program of a thread of `document-aside.ts`. Without
 * changes what was saved is read, which throws where its heads name something else.
 */
const { genesis, saved, changes } = workerData as Unsaved
const document = new Document(genesis, undefined, saved)
if (saved != null && changes.lengths.length === 0) {
  document.load()
  parentPort?.postMessage(saved)
} else {
  document.take(unpacked(changes))
  parentPort?.postMessage(document.save())
}
