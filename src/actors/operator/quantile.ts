/** The `q` quantile (0…1) of some samples by the nearest rank; null without samples. */
export function quantile(samples: readonly number[], q: number): number | null {
  if (samples.length === 0) return null
  const sorted = samples.toSorted((a, b) => a - b)
  return sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)]!
}
