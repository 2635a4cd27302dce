import { readFileSync } from 'node:fs'

/** Resident memory of a process, bytes; null when there is none any more. */
export function rssBytes(pid: number): number | null {
  try {
    const kib = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
    return kib == null ? null : Number(kib) * 1024
  } catch {
    return null
  }
}

/** The line with the least squares through points: units of y for each of x, and the line's y at the first x. */
export function fit(points: ReadonlyArray<readonly [x: number, y: number]>): { slope: number; from: number } {
  const mean = (of: 0 | 1): number => points.reduce((sum, point) => sum + point[of], 0) / points.length
  const [x, y] = [mean(0), mean(1)]
  let [above, below] = [0, 0]
  for (const [a, b] of points) {
    above += (a - x) * (b - y)
    below += (a - x) ** 2
  }
  const slope = below === 0 ? 0 : above / below
  return { slope, from: y + slope * ((points[0]?.[0] ?? x) - x) }
}
