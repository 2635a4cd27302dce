/**
 * A shorter list that still fails, by leaving out ever smaller parts (delta debugging: Zeller and Hildebrandt, 2002). Asks
 * `fails` at most `triesMax` times; what comes back always failed when it was asked.
 */
export async function shrink<T>(
  list: readonly T[],
  fails: (part: T[]) => Promise<boolean>,
  triesMax: number
): Promise<T[]> {
  let best = [...list]
  let tries = 0
  for (let size = Math.ceil(best.length / 2); size >= 1 && best.length > 0;) {
    let shorter = false
    for (let at = 0; at < best.length && tries < triesMax; at += size) {
      const part = best.toSpliced(at, size)
      tries++
      if (!(await fails(part))) continue
      best = part
      shorter = true
      at -= size
    }
    if (tries >= triesMax) break
    if (!shorter && size === 1) break
    size = shorter ? Math.min(size, Math.max(1, best.length)) : Math.ceil(size / 2)
    if (!shorter && size < 1) break
  }
  return best
}
