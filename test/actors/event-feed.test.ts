import assert from 'node:assert/strict'
import { EventFeed } from '../../src/actors/event-feed.ts'
import { eventListenersMax } from '../../src/actors/limits.ts'
import { FakeClock } from './fakes/clock.ts'
import { FakeLog } from './fakes/log.ts'

describe('the event feed', () => {
  it('gives everyone everything in order, with the time', () => {
    const feed = new EventFeed({ clock: new FakeClock(), log: new FakeLog() })
    const [one, two]: [string[], string[]] = [[], []]
    const stop = feed.on(({ type, at }) => one.push(`${at} ${type}`))
    feed.on(({ type }) => two.push(type))
    feed.emit('service.created', {})
    stop()
    feed.emit('service.deleted', {})
    assert.deepEqual(one, ['2026-01-01T00:00:00.000Z service.created'])
    assert.deepEqual(two, ['service.created', 'service.deleted'])
  })

  it('lets go of a listener that fails, and of nobody else', () => {
    const log = new FakeLog()
    const feed = new EventFeed({ clock: new FakeClock(), log })
    const seen: string[] = []
    feed.on(() => {
      throw new Error('a broken client')
    })
    feed.on(({ type }) => seen.push(type))
    feed.emit('a', {})
    feed.emit('b', {})
    assert.deepEqual(seen, ['a', 'b'])
    assert.equal(log.messages('warn').length, 1)
  })

  it('refuses more listeners than its limit', () => {
    const feed = new EventFeed({ clock: new FakeClock(), log: new FakeLog() })
    const stops = Array.from({ length: eventListenersMax }, () => feed.on(() => {}))
    assert.throws(() => feed.on(() => {}), { code: 'unavailable' })
    stops[0]!()
    feed.on(() => {})
  })
})
