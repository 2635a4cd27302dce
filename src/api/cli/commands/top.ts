import type { Command } from '../command.ts'
import { usageFailure } from '../failure.ts'
import { topEverySecondsDefault } from '../limits.ts'

export const topCommands: readonly Command[] = [
  {
    words: ['top'],
    summary: 'A live screen of services, tunnels, flows and actors: states, bytes, rates',
    endless: true,
    flags: [
      {
        name: 'sort',
        kind: 'text',
        placeholder: 'COLUMN',
        help: 'by which column, as its head says, e.g. flows, in/s'
      },
      { name: 'every', kind: 'duration', placeholder: 'DURATION', help: 'how often it looks (1s)' },
      {
        name: 'peer',
        kind: 'text',
        placeholder: 'P',
        live: 'peer',
        field: 'peer',
        help: "of that member's agent instead"
      }
    ],
    examples: ['arctic top', 'arctic top --peer edge-b --sort flows', 'arctic top -j   # two looks, then it ends'],
    async run({ api, print, streams, clock, signal }, { flags }) {
      const { runTop, lookTwice } = await import('../top/session.ts')
      const { firstView, sortedBy } = await import('../top/view.ts')
      const every = Number(flags['every'] ?? topEverySecondsDefault)
      const sort = flags['sort'] as string | undefined
      const view = sort == null ? firstView : sortedBy(firstView, sort)
      if (view == null) throw usageFailure(`--sort "${sort}" is no column; the heads of "arctic top" name them`, 'top')
      const options = {
        api,
        peer: flags['peer'] as string | undefined,
        view,
        everyMs: every * 1000,
        colours: print.colours,
        stdin: streams.stdin,
        stdout: streams.stdout,
        clock,
        signal
      }
      const isScreen = streams.stdin.isTTY === true && streams.stdout.isTTY === true
      if (isScreen && (print.format === 'table' || print.format === 'wide')) return runTop(options)
      const model = await lookTwice(options)
      await print.data(model, async () => {
        const { screenOf } = await import('../top/screen.ts')
        const size = { columns: 1000, rows: model.services.length + model.tunnels.length + 100 }
        const lines = screenOf(model, view, size, { now: clock.now(), colours: print.colours })
        // The last line tells the keys.
        return `${lines
          .slice(0, -1)
          .filter((line) => line !== '')
          .join('\n')}\n`
      })
    }
  }
]
