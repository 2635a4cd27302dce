import assert from 'node:assert/strict'
import { Story } from '../../lab/story.ts'
import { runLives, runIdOf, runOf } from '../../lab/run-id.ts'

describe('lab: a story told', () => {
  const tell = (colour: boolean): { story: Story; text: () => string } => {
    let text = ''
    return { story: new Story({ colour, write: (more) => void (text += more) }), text: () => text }
  }

  it('ticks what holds, crosses what does not, goes on after either, and counts', async () => {
    const { story, text } = tell(false)
    assert.equal(await story.step('holds', async ({ check }) => check(true, 'label', 'seen')), true)
    assert.equal(await story.step('does not', async ({ check }) => check(false, 'label', 'seen\nmore')), false)
    assert.equal(
      await story.step('throws', async () => {
        throw new Error('no luck')
      }),
      false
    )
    assert.equal(story.failed, 2)
    assert.match(text(), /^✓ 0 {2}holds .*\n {5}✓ label +seen\n\n✗ 1 {2}does not .*\n {5}✗ label +seen\n {30,}more\n/)
    assert.match(text(), /✗ 2 {2}throws .*\n {5}✗ stopped +no luck\n/)
  })

  it('has colours at a terminal only', async () => {
    for (const colour of [true, false]) {
      const { story, text } = tell(colour)
      await story.step('a step', async ({ check }) => check(true, 'label', 'seen'))
      assert.equal(text().includes('\u001B['), colour)
    }
  })
})

describe('lab: names of runs', () => {
  it('a run lives as long as its process, and its hosts name it', () => {
    const runId = runIdOf('my-lab', process.pid, 3)
    assert.ok(runLives(runId))
    assert.equal(runOf('my-lab', `${runId}-edge-a`), runId)
    assert.equal(runOf('my-lab', runId), runId)
  })

  it('another process of the same pid is another run', () => {
    const [start] = runIdOf('lab', process.pid, 1).split('-').slice(2)
    assert.equal(runLives(`lab-${process.pid}-${Number(start) + 1}-1`), false)
    assert.equal(runLives('lab-999999999-1-1'), false)
  })

  it('names of others are nobody of ours', () => {
    for (const name of ['lab', 'lab-edge-a', 'other-1-2-3-a', 'lab-1-2', 'lab-1-2-3x-a']) {
      assert.equal(runOf('lab', name), null, name)
    }
  })
})
