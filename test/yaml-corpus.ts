import * as fc from 'fast-check'

/** What has made readers of YAML stumble elsewhere: anchors, merges, tags, keys of every kind, numbers, and no YAML at all. */
const CORPUS = [
  '',
  '\uFEFFname: x',
  '---\n...\n---\nname: x',
  'a: &a [*a]',
  '<<: &x {name: y}\nname: *x',
  '? [a, b]\n: c',
  '!!binary "gICA"',
  '!!js/function "x"',
  '__proto__: {name: x}\nconstructor: 1',
  'name: 0x1F\nlog_level: .nan\ndrain_timeout: 1e999',
  'services:\n  - name: web\n    routes: !!set {a, b}',
  'services: 2026-01-01T00:00:00Z',
  'services: "\\uD800"',
  'services: |\n\t- tabs',
  'services: {name: web, routes: [{dest_cidr: ~}]}',
  `${'['.repeat(400)}${']'.repeat(400)}`,
  `services: ${'{a: '.repeat(300)}1${'}'.repeat(300)}`,
  '\0name: x',
  '%YAML 9.9\n---\nname: x'
]

/** Texts of the corpus, texts that are right, and both with something in them that does not belong there. */
export const yamlTexts = (right: readonly string[]): fc.Arbitrary<string> => {
  const text = fc.constantFrom(...CORPUS, ...right)
  const piece = fc.oneof(
    fc.string({ maxLength: 12 }),
    fc.constantFrom(
      ': ',
      '\n- ',
      '\n  ',
      '[',
      '}',
      '&a ',
      '*a',
      '"',
      '#',
      '|\n',
      '\t',
      '!!map ',
      '~',
      '99999999999999999999'
    )
  )
  const spoilt = fc.tuple(text, fc.nat(2_000), fc.nat(6), piece).map(([whole, at, cut, added]) => {
    const start = at % (whole.length + 1)
    return whole.slice(0, start) + added + whole.slice(start + cut)
  })
  return fc.oneof(
    text,
    spoilt,
    fc.jsonValue().map((value) => JSON.stringify(value)),
    fc.string({ maxLength: 60 })
  )
}
