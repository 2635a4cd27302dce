import assert from 'node:assert/strict'
import * as fc from 'fast-check'
import { addressOf, kindOf, parseAddress } from '../../../src/actors/runtime/address.ts'

describe('actor addresses', () => {
  it('are read back as they were made', () => {
    const kind = fc.stringMatching(/^[a-z][a-z0-9-]{0,10}$/)
    const name = fc.stringMatching(/^\S{1,30}$/)
    fc.assert(fc.property(kind, name, (k, n) => assert.deepEqual(parseAddress(addressOf(k, n)), { kind: k, name: n })))
  })

  it('know singletons, and refuse what is no address', () => {
    assert.deepEqual(parseAddress('netmgr'), { kind: 'netmgr', name: null })
    assert.equal(kindOf('service:01J:x'), 'service')
    for (const text of ['', ':x', 'Service:x', 'service:', 'service:a b', '1x:y'])
      assert.equal(parseAddress(text), null, text)
  })
})
