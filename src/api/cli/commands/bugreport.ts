import { resolve } from 'node:path'
import { isoTime } from '../../../clock.ts'
import type { Command } from '../command.ts'

export const bugreportCommands: readonly Command[] = [
  {
    words: ['bugreport'],
    summary: 'Pack state, actors, kernel rules, settings and logs of an agent, without secrets',
    flags: [
      {
        name: 'output',
        short: 'o',
        kind: 'text',
        placeholder: 'FILE',
        live: 'file',
        help: 'where to (arctic-bugreport-PEER-TIME.tar.gz here)'
      }
    ],
    examples: ['arctic bugreport', 'arctic bugreport -o /tmp/report.tar.gz'],
    async run({ api, print, clock }, { flags }) {
      const { collect, pack } = await import('../bugreport.ts')
      const report = await collect(api)
      const { peer } = JSON.parse(report.get('status.json') ?? '{}') as { peer?: { name?: string } }
      const time = isoTime(clock.now()).replaceAll(/[-:]|\.\d+/g, '')
      const name = `arctic-bugreport-${(peer?.name ?? 'agent').replaceAll(/[^A-Za-z0-9._-]/g, '_')}-${time}`
      const file = resolve(String(flags['output'] ?? `${name}.tar.gz`))
      await pack(report, { file, name })
      const missing = report.get('errors.txt')
      if (missing != null)
        print.remark(`not everything could be had; errors.txt in it says what:\n${missing.trimEnd()}`)
      await print.data({ file, files: [...report.keys()] }, () => `${file}\n`)
    }
  }
]
