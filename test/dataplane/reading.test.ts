import { equal } from 'node:assert/strict'
import { Reading } from '../../src/dataplane/reading.ts'

describe('a reading of the kernel', () => {
  let reads = 0
  let isWatched = true
  const reading = (): Reading<number> => {
    reads = 0
    isWatched = true
    return new Reading(
      async () => ++reads,
      () => isWatched
    )
  }

  it('is good until a change is heard of', async () => {
    const one = reading()
    equal(one.last, null)
    equal(await one.current(), 1)
    equal(await one.current(), 1)
    one.changed()
    equal(one.last, 1)
    equal(await one.current(), 2)
    equal(await one.anew(), 3)
    equal(await one.current(), 3)
  })

  it('is good for nothing while nobody listens', async () => {
    const one = reading()
    isWatched = false
    equal(await one.current(), 1)
    equal(await one.current(), 2)
    isWatched = true
    equal(await one.current(), 2)
  })

  it('is old already when something changed while it was read', async () => {
    const one = reading()
    const [first] = await Promise.all([one.current(), Promise.resolve().then(() => one.changed())])
    equal(first, 1)
    equal(await one.current(), 2)
    equal(await one.current(), 2)
  })
})
