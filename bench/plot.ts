export interface Series {
  name: string
  points: ReadonlyArray<readonly [x: number, y: number]>
}

const [width, height, margin] = [720, 400, 60]
/** More points than these are a line without dots. */
const dotsMax = 60
const colours = ['#1f6feb', '#d1242f', '#1a7f37', '#8250df', '#9a6700']

interface Axes {
  x: string
  y: string
  scale?: 'logarithmic' | 'linear'
}

/** Lines over two axes, as SVG. On logarithmic ones points with a value that is not above 0 are left out. */
export function plot(series: readonly Series[], { x, y, scale = 'logarithmic' }: Axes): string {
  const axis = scale === 'linear' ? linear : logarithmic
  const shown = series.map(({ name, points }) => ({
    name,
    points: points.filter(([a, b]) => scale === 'linear' || (a > 0 && b > 0))
  }))
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
    if (points.length <= dotsMax)
      for (const [a, b] of points) lines.push(`<circle cx="${across.at(a)}" cy="${up.at(b)}" r="3" fill="${colour}"/>`)
    lines.push(`<text x="${margin + 10}" y="${margin + 16 + i * 18}" fill="${colour}">${escaped(name)}</text>`)
  }
  lines.push(`<text x="${width / 2}" y="${height - 16}" text-anchor="middle">${escaped(x)}</text>`)
  lines.push(
    `<text x="16" y="${height / 2}" text-anchor="middle" transform="rotate(-90 16 ${height / 2})">${escaped(y)}</text>`
  )
  return `${lines.join('\n')}\n</svg>\n`
}

interface Axis {
  ticks: number[]
  at: (value: number) => number
}

/** From 0 to the next round number above the values. */
function linear(values: readonly number[], from: number, to: number): Axis {
  const most = Math.max(...values, 0)
  const decade = 10 ** Math.floor(Math.log10(Math.max(most, 1e-9)))
  const step = [0.2, 0.5, 1, 2].map((part) => part * decade).find((part) => most / part <= 8) ?? decade
  const high = Math.max(step, Math.ceil(most / step) * step)
  const ticks = Array.from({ length: Math.round(high / step) + 1 }, (_, i) => Math.round(i * step * 1e6) / 1e6)
  return { ticks, at: (value) => Math.round((from + (value / high) * (to - from)) * 10) / 10 }
}

/** Whole decades around the values. */
function logarithmic(values: readonly number[], from: number, to: number): Axis {
  const low = Math.floor(Math.log10(Math.min(...values, 1e9)))
  const high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(...values, 1))))
  const ticks = Array.from({ length: high - low + 1 }, (_, i) => 10 ** (low + i))
  const at = (value: number): number =>
    Math.round((from + ((Math.log10(value) - low) / (high - low)) * (to - from)) * 10) / 10
  return { ticks, at }
}

const escaped = (text: string): string => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
