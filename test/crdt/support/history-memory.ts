import { held, work } from './worked-history.ts'

/**
 * Prints what each of so many changes leaves in memory once they are on disk, of those for which older ones have to go: bytes in
 * V8's heap, and outside it.
 */
const [warmUp, changes] = [10_000, 8_000]

work(warmUp)
const before = held()
work(warmUp + changes)
const perChange = held().map((bytes, i) => Math.round((bytes - (before[i] as number)) / changes))
process.stdout.write(JSON.stringify(perChange))
