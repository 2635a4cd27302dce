import { held, work } from './worked-history.ts'

/** Prints what each of so many changes leaves in memory, bytes, once they are on disk: of those for which older ones have to go. */
const [warmUp, changes] = [10_000, 8_000]

work(warmUp)
const before = held()
work(warmUp + changes)
process.stdout.write(String(Math.round((held() - before) / changes)))
