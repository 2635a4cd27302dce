import type { Readable, Writable } from 'node:stream'
import type { ActivityJson } from '../../../actors/operator/activity.ts'
import type { Clock } from '../../../clock.ts'
import type { Client } from '../client.ts'
import { difference, enterScreen, leaveScreen } from './draw.ts'
import { modelOf, type Model, type Sample } from './rates.ts'
import { rowsShown, screenOf, type Size } from './screen.ts'
import { keysOf, onKey, type View } from './view.ts'

export interface TopOptions {
  api: Client
  peer: string | undefined
  view: View
  everyMs: number
  colours: boolean
  stdin: Readable & { setRawMode?: (raw: boolean) => unknown }
  stdout: Writable & { columns?: number; rows?: number }
  clock: Clock
  /** Aborts on Ctrl-C from outside. */
  signal: AbortSignal
}

export const activityAt = (api: Client, peer: string | undefined): Promise<ActivityJson> =>
  api.get<ActivityJson>('/v1/activity', { query: { peer } })

/** Two looks, `everyMs` apart: for who wants figures and has no screen. */
export async function lookTwice({ api, peer, everyMs, clock, signal }: TopOptions): Promise<Model> {
  const look = async (): Promise<Sample> => ({ activity: await activityAt(api, peer), at: clock.monotonic() })
  const first = await look()
  await clock.sleep(everyMs, { signal })
  return modelOf(await look(), first)
}

/**
 * The live screen, until a key or the signal ends it:
 * 1. the first look is taken before anything is drawn, so that an agent that is not there is an error like any other;
 * 2. every `everyMs` a look is taken and drawn; one that fails is told at the foot of the screen, and tried again;
 * 3. keys and another size of the terminal draw at once what is known;
 * 4. whatever ends it, the terminal is given back as it was.
 */
export async function runTop(options: TopOptions): Promise<void> {
  const { api, peer, everyMs, colours, stdin, stdout, clock, signal } = options
  const look = async (): Promise<Sample> => ({ activity: await activityAt(api, peer), at: clock.monotonic() })
  let sample = await look()
  let model = modelOf(sample, null)
  let { view } = options
  let trouble: string | null = null
  let drawn: { lines: string[]; size: Size } | null = null
  const ended = new AbortController()
  const stop = AbortSignal.any([signal, ended.signal])

  const draw = (): void => {
    const size = sizeOf(stdout)
    const same = drawn != null && drawn.size.columns === size.columns && drawn.size.rows === size.rows
    const lines = screenOf(model, view, size, { now: clock.now(), colours, trouble })
    const text = difference(same ? (drawn?.lines ?? null) : null, lines, size)
    drawn = { lines, size }
    if (text !== '') stdout.write(text)
  }
  const onInput = (input: string): void => {
    for (const key of keysOf(input)) {
      const next = onKey(view, key, rowsShown(sizeOf(stdout)))
      if (next === 'quit') return ended.abort()
      view = next
    }
    draw()
  }
  const follow = async (): Promise<void> => {
    for (;;) {
      await clock.sleep(everyMs, { signal: stop })
      if (view.paused) continue
      try {
        const next = await look()
        model = modelOf(next, sample)
        sample = next
        trouble = null
      } catch (error) {
        stop.throwIfAborted()
        trouble = error instanceof Error ? error.message : String(error)
      }
      draw()
    }
  }

  stdin.setEncoding('utf8')
  stdin.setRawMode?.(true)
  stdin.on('data', onInput)
  stdin.resume()
  stdout.on('resize', draw)
  stdout.write(enterScreen)
  try {
    draw()
    await follow()
  } catch (error) {
    if (!ended.signal.aborted) throw error
  } finally {
    stdout.off('resize', draw)
    stdin.off('data', onInput)
    stdin.setRawMode?.(false)
    stdin.pause()
    stdout.write(leaveScreen)
  }
}

/** A terminal that does not know its size, as one over a serial line, says 0. */
const sizeOf = ({ columns = 0, rows = 0 }: TopOptions['stdout']): Size => ({
  columns: columns > 0 ? columns : 80,
  rows: rows > 0 ? rows : 24
})
