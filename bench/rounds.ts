/** One way of carrying the same load. `pids` are the processes whose CPU time it costs. */
export interface Contender<Path> {
  name: string
  pids: readonly number[]
  /** Processes that carry nothing but have work because of it. */
  besides?: readonly number[]
  path: Path
}

/** What one measurement answers: figures by name. */
export type Figures = Record<string, number>

export interface Result {
  name: string
  /** Median over the rounds, by figure. */
  median: Figures
  /** Every round's, in order. */
  rounds: Figures[]
}

/**
 * Measures every contender once a round, in turn, and takes medians: whatever disturbs the machine for a while disturbs
 * all of them alike.
 */
export async function inRounds<Path>(
  contenders: ReadonlyArray<Contender<Path>>,
  rounds: number,
  measure: (contender: Contender<Path>) => Promise<Figures>,
  progress: (text: string) => void
): Promise<Result[]> {
  const found = contenders.map((): Figures[] => [])
  for (let round = 1; round <= rounds; round++) {
    for (const [i, contender] of contenders.entries()) {
      progress(`round ${round} of ${rounds}: ${contender.name}`)
      found[i]?.push(await measure(contender))
    }
  }
  return contenders.map(({ name }, i) => ({ name, rounds: found[i] ?? [], median: mediansOf(found[i] ?? []) }))
}

/** Medians by figure, of those rounds in which it could be measured. */
export function mediansOf(rounds: readonly Figures[]): Figures {
  const names = [...new Set(rounds.flatMap((figures) => Object.keys(figures)))]
  return Object.fromEntries(
    names.map((name) => {
      const values = rounds.map((figures) => figures[name] ?? Number.NaN).filter((value) => !Number.isNaN(value))
      return [name, median(values)]
    })
  )
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2
}
