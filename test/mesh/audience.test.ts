import { equal } from 'node:assert/strict'
import * as fc from 'fast-check'
import { audienceFor } from '../../src/mesh/audience.ts'

describe('whom to tell', () => {
  const of = (members: string[], connected: string[], heard: string[]): string =>
    audienceFor(members, {
      network: { self: 'me', connected: () => connected },
      roster: { isApart: (peer) => heard.includes(peer) }
    })

  it('is who is connected, as long as that is everybody that is there', () => {
    equal(of(['me'], [], []), 'connected')
    equal(of(['me', 'a', 'b'], ['a', 'b'], ['a', 'b']), 'connected')
    equal(of(['me', 'a', 'gone'], ['a'], ['a']), 'connected')
  })

  it('is everybody when a member is heard of that is not connected', () => {
    const names = fc.uniqueArray(fc.constantFrom('a', 'b', 'c', 'd', 'e'))
    fc.assert(
      fc.property(names, names, names, (members, connected, heard) => {
        const needs = members.some((peer) => !connected.includes(peer) && heard.includes(peer))
        return of(['me', ...members], connected, heard) === (needs ? 'all' : 'connected')
      })
    )
  })
})
