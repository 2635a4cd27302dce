import { parentPort, workerData } from 'node:worker_threads'
import { Document } from './document.ts'
import type { Unsaved } from './document-aside.ts'

/** Makes the document of some changes and hands over what is saved of it: the program of a thread of `document-aside.ts`. */
const { genesis, saved, changes } = workerData as Unsaved
const document = new Document(genesis, undefined, saved)
document.apply(changes)
parentPort?.postMessage(document.save())
