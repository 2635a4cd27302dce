import assert from 'node:assert/strict'
import { KeyedSerial } from '../../../src/actors/operator/keyed-serial.ts'

describe('actors: keyed serial', () => {
  it('runs one key in order, other keys meanwhile, and goes on after a failure', async () => {
    const serial = new KeyedSerial()
    const order: string[] = []
    const gate = Promise.withResolvers<void>()
    const first = serial.run('a', async () => {
      await gate.promise
      order.push('a1')
      throw new Error('failed')
    })
    const second = serial.run('a', async () => void order.push('a2'))
    await serial.run('b', async () => void order.push('b'))
    gate.resolve()
    await assert.rejects(first, /failed/)
    await second
    assert.deepEqual(order, ['b', 'a1', 'a2'])
  })
})
