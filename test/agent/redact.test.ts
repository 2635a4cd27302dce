import assert from 'node:assert/strict'
import * as fc from 'fast-check'
import { LogTail } from '../../src/log-tail.ts'
import { logTailBytesMax, logTailLinesMax } from '../../src/limits.ts'
import { redact } from '../../src/redact.ts'

const SECRET = 'S3cr3tS3cr3tS3cr3tS3cr3t'
const TOKEN = `arctic_01J00000000000000000000000_${'Zz9_-'.repeat(9).slice(0, 43)}`

describe('redact', () => {
  it('takes out what is a secret by its form or by its name, wherever it stands', () => {
    for (const text of [
      `-----BEGIN PRIVATE KEY-----\n${SECRET}\n-----END PRIVATE KEY-----`,
      `-----BEGIN EC PRIVATE KEY-----\n${SECRET} and the end is missing`,
      `join arctic1.${SECRET}`,
      `join arctic1.${SECRET}.${SECRET} now`,
      `Authorization: Bearer ${SECRET}`,
      `{"authorization":"bearer   ${SECRET}"}`,
      `{"private_key":"${SECRET}"}`,
      `{"privateKey": "${SECRET}"}`,
      `{"clientSecret":"a \\"${SECRET}"}`,
      `password: ${SECRET}`,
      `PASSWORD='${SECRET} with blanks'`,
      `preshared_psk=${SECRET}, more`
    ]) {
      const shown = redact(text)
      assert.ok(!shown.includes(SECRET), shown)
      assert.match(shown, /\[not shown\]/)
    }
    assert.equal(redact(`token ${TOKEN} is good`), 'token [not shown] is good')
    assert.equal(redact(`key ${SECRET}!`, [SECRET, '']), 'key [not shown]!')
  })

  it('leaves what everybody may know, and JSON stays JSON', () => {
    for (const text of [
      '{"pegasus_key":"AQEBAQ==","via":"token 01J00000000000000000000000 ci","tokens":3}',
      'peer 12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN',
      'meta mark & 0xff000000 == 0x02000000'
    ]) {
      assert.equal(redact(text), text)
    }
    fc.assert(
      fc.property(fc.dictionary(fc.constantFrom('password', 'name', 'secret', 'note'), fc.string()), (fields) => {
        const text = JSON.stringify(fields)
        const shown = JSON.parse(redact(text)) as Record<string, string>
        assert.deepEqual(Object.keys(shown), Object.keys(JSON.parse(text) as object))
        for (const name of ['password', 'secret']) {
          if (name in fields) assert.equal(shown[name], '[not shown]')
        }
      })
    )
  })
})

describe('the tail of the log', () => {
  it('keeps the last lines, bounded in number and in bytes', () => {
    const tail = new LogTail()
    for (let i = 0; i < logTailLinesMax + 10; i++) tail.add(`{"line":${i}}\n`)
    assert.equal(tail.lines().length, logTailLinesMax)
    assert.equal(tail.lines()[0], '{"line":10}')
    for (let i = 0; i < 10; i++) tail.add('x'.repeat(logTailBytesMax / 4))
    assert.equal(tail.lines().length, 4)
  })
})
