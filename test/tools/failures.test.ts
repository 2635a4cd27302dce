import { deepEqual, equal } from 'node:assert/strict'
import { cargoFailures, lastLines, mochaFailures } from '../../tools/failures.ts'

describe('what is told again at the end of npm test', () => {
  it('is what mocha lists behind its counts, and not the thousand tests before', () => {
    const output =
      '  a\n    ✔ one\n    1) two\n\n  1 passing (3ms)\n  1 failing\n\n  1) a\n       two:\n     Error: no\n\n'
    deepEqual(mochaFailures(output), ['  1 failing', '', '  1) a', '       two:', '     Error: no'])
  })

  it('is what each of the test programs of cargo says of its failures', () => {
    const program = (name: string): string =>
      `running 2 tests\ntest ${name} ... FAILED\n\nfailures:\n\n---- ${name} stdout ----\npanicked\n\nfailures:\n    ${name}\n\ntest result: FAILED. 1 passed; 1 failed\n`
    const told = cargoFailures(program('a') + 'test result: ok. 3 passed; 0 failed\n' + program('b'))
    deepEqual(
      told.filter((line) => line.startsWith('----')),
      ['---- a stdout ----', '---- b stdout ----']
    )
    equal(
      told.some((line) => line.startsWith('test result') || line.startsWith('running')),
      false
    )
  })

  it('is the end of what a runner said that died without a list', () => {
    const output = Array.from({ length: 500 }, (_, i) => `line ${i}`).join('\n')
    equal(mochaFailures(output).at(-1), 'line 499')
    deepEqual(lastLines('error: it broke\n'), ['error: it broke'])
  })

  it('has an end when everything failed', () => {
    const output = '  0 passing\n  900 failing\n' + '  1) a\n'.repeat(900)
    const told = mochaFailures(output)
    equal(told.length, 81)
    equal(told.at(-1), '… 821 lines more')
  })
})
