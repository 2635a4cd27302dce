import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'mocha'
import { plot } from '../../bench/plot.ts'
import { namedSections, replaceSection } from '../../bench/section.ts'

describe('bench: sections and plots', () => {
  it('a section replaces itself and nothing else, and can be carried over', () => {
    const dir = mkdtempSync(join(tmpdir(), 'arctic-bench-'))
    try {
      const path = join(dir, 'RESULTS.md')
      writeFileSync(path, '# Results\n\nours\n')
      replaceSection(path, 'one', 'first')
      replaceSection(path, 'two', 'second')
      replaceSection(path, 'one', 'third')
      const text = readFileSync(path, 'utf8')
      assert.match(
        text,
        /^# Results\n\nours\n\n<!-- one -->\n\nthird\n\n<!-- end of one -->\n\n<!-- two -->\n\nsecond\n/
      )
      assert.equal(text.includes('first'), false)
      assert.deepEqual(
        namedSections(text).map((section) => /(third|second)/.exec(section)?.[0]),
        ['third', 'second']
      )
    } finally {
      rmSync(dir, { recursive: true })
    }
  })

  it('a plot has a line per series and a tick per decade', () => {
    const points = [
      [10, 30],
      [100, 60],
      [1_000, 0]
    ] as const
    const svg = plot(
      [
        { name: 'a < b', points },
        { name: 'c', points: [[10, 400]] }
      ],
      { x: 'peers', y: 'ms' }
    )
    assert.match(svg, /a &lt; b/)
    assert.equal(svg.match(/<path d="M[^"]*" fill="none"/g)?.length, 2)
    // What is not above 0 has no place on a logarithmic axis.
    assert.equal(svg.match(/<circle/g)?.length, 3)
    assert.match(svg, />100<\/text>/)
  })
})
