import assert from 'node:assert/strict'
import { authHeadsKeptMax } from '../../../src/actors/limits.ts'
import { Exclusions } from '../../../src/actors/reconcile/exclusions.ts'
import type { DepartedMember, View } from '../../../src/crdt/view.ts'
import { member, peerId, viewOf } from '../fakes/records.ts'

describe('exclusions', () => {
  const gone = (name: string): [string, DepartedMember] => [
    peerId(name),
    { id: peerId(name), name, how: 'revoked', by: peerId('a'), at: '2026-01-01T00:00:00.000Z' }
  ]
  const view = (authHead: string, ...names: string[]): View => ({
    ...viewOf([member('a'), member('b')]),
    authHead,
    departed: new Map(names.map(gone))
  })
  const nothing = (): null => null
  const confirmed = (exclusions: Exclusions, name: string): string[] => [...exclusions.confirmedBy(peerId(name))]

  it('are confirmed by who announces the auth head they belong to, and stay so', () => {
    const exclusions = new Exclusions()
    exclusions.seen(view('one', 'x'), nothing)
    exclusions.heard(peerId('b'), ['document', 'another'])
    assert.deepEqual(confirmed(exclusions, 'x'), [])
    exclusions.heard(peerId('b'), ['document', 'one'])
    assert.deepEqual(confirmed(exclusions, 'x'), [peerId('b')])
    exclusions.seen(view('two', 'x', 'y'), nothing)
    exclusions.heard(peerId('b'), ['one'])
    assert.deepEqual([confirmed(exclusions, 'x'), confirmed(exclusions, 'y')], [[peerId('b')], []])
    exclusions.heard(peerId('b'), ['two'])
    assert.deepEqual(confirmed(exclusions, 'y'), [peerId('b')])
  })

  it('are confirmed at once by who was ahead of this peer', () => {
    const exclusions = new Exclusions()
    exclusions.seen(view('one', 'x'), (peer) => (peer === peerId('b') ? ['one'] : null))
    assert.deepEqual(confirmed(exclusions, 'x'), [peerId('b')])
  })

  it('are forgotten with the cluster', () => {
    const exclusions = new Exclusions()
    exclusions.seen(view('one', 'x'), nothing)
    exclusions.heard(peerId('b'), ['one'])
    exclusions.seen(viewOf([]), nothing)
    assert.deepEqual(confirmed(exclusions, 'x'), [])
  })

  it('remember a bounded number of auth heads', () => {
    const exclusions = new Exclusions()
    for (let i = 0; i <= authHeadsKeptMax; i++) exclusions.seen(view(`head ${i}`, `x${i}`), nothing)
    exclusions.heard(peerId('b'), ['head 0'])
    exclusions.heard(peerId('b'), ['head 1'])
    assert.deepEqual([confirmed(exclusions, 'x0'), confirmed(exclusions, 'x1')], [[], [peerId('b')]])
  })
})
