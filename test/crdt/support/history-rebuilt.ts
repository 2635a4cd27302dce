import { fold, ledger, work } from './worked-history.ts'

/** Folds a long history anew, as after a revocation: prints how many entries it has, and whether it comes to the same. */
work(20_000, { isDropped: false })
const before = fold.view
fold.rebuild(before.revision)
process.stdout.write(JSON.stringify([ledger.entries.length, fold.view.heads.join() === before.heads.join()]))
