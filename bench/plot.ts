export interface Series {
  name: string
  points: ReadonlyArray<readonly [x: number, y: number]>
}

const [width, height, margin] = [720, 400, 60]
const colours = ['#1f6feb', '#d1242f', '#1a7f37', '#8250df']

/** Lines over two logarithmic axes, as SVG. Points with a value that is not above 0 are left out. */
export function plot(series: readonly Series[], { x, y }: { x: string; y: string }): string {
  const shown = series.map(({ name, points }) => ({ name, points: points.filter(([a, b]) => a > 0 && b > 0) }))
  const all = shown.flatMap(({ points }) => points)
  const across = axis(
    all.map(([value]) => value),
    margin,
    width - margin
  )
  const up = axis(
    all.map(([, value]) => value),
    height - margin,
    margin
  )
  const lines = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">`,
    `<rect width="${width}" height="${height}" fill="white"/>`
  ]
  for (const value of across.ticks) {
    const at = across.at(value)
    lines.push(`<path d="M${at} ${margin}V${height - margin}" stroke="#ddd"/>`)
    lines.push(`<text x="${at}" y="${height - margin + 18}" text-anchor="middle">${value}</text>`)
  }
  for (const value of up.ticks) {
    const at = up.at(value)
    lines.push(`<path d="M${margin} ${at}H${width - margin}" stroke="#ddd"/>`)
    lines.push(`<text x="${margin - 6}" y="${at}" text-anchor="end" dominant-baseline="middle">${value}</text>`)
  }
  for (const [i, { name, points }] of shown.entries()) {
    const colour = colours[i % colours.length]
    const path = points.map(([a, b], n) => `${n === 0 ? 'M' : 'L'}${across.at(a)} ${up.at(b)}`).join('')
    lines.push(`<path d="${path}" fill="none" stroke="${colour}" stroke-width="2"/>`)
    for (const [a, b] of points) lines.push(`<circle cx="${across.at(a)}" cy="${up.at(b)}" r="3" fill="${colour}"/>`)
    lines.push(`<text x="${margin + 10}" y="${margin + 16 + i * 18}" fill="${colour}">${escaped(name)}</text>`)
  }
  lines.push(`<text x="${width / 2}" y="${height - 16}" text-anchor="middle">${escaped(x)}</text>`)
  lines.push(
    `<text x="16" y="${height / 2}" text-anchor="middle" transform="rotate(-90 16 ${height / 2})">${escaped(y)}</text>`
  )
  return `${lines.join('\n')}\n</svg>\n`
}

/** Whole decades around the values, and 1, 2, 5 of each as ticks. */
function axis(values: readonly number[], from: number, to: number): { ticks: number[]; at: (value: number) => number } {
  const low = Math.floor(Math.log10(Math.min(...values, 1e9)))
  const high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(...values, 1))))
  const ticks = Array.from({ length: high - low + 1 }, (_, i) => 10 ** (low + i))
  const at = (value: number): number =>
    Math.round((from + ((Math.log10(value) - low) / (high - low)) * (to - from)) * 10) / 10
  return { ticks, at }
}

const escaped = (text: string): string => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
