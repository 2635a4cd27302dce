/** Processes of one kind that keep a state together, and somebody who writes to it and watches it at each of them. */
export interface System {
  name: string
  /** Starts all of them and waits until they are one cluster. */
  start(directory: string): Promise<void>
  /** Writes number `n` through member `by`; resolves when it is acknowledged, with the clock's ms just before it was asked for. */
  write(by: number, n: number): Promise<number>
  /** The clock's ms at which each write was seen, by its number: one for each member that has seen it. */
  seen(): Promise<ReadonlyMap<number, readonly number[]>>
  stop(): Promise<void>
}

export const members = 5

/** The value below which a share of them lies. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN
}

/** Wall-clock ms with fractions; processes of one machine share it. */
export const precise = (): number => performance.timeOrigin + performance.now()
