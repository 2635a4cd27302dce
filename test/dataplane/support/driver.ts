/**
 * Runs a KernelDataplane in the network namespace it was started in, told what to do by JSON lines on stdin. Tests start it with
 * `ip netns exec`, so that nothing under test ever touches the namespace of the test itself.
 */
import { createInterface } from 'node:readline'
import { systemClock } from '../../../src/clock.ts'
import type { DesiredState } from '../../../src/dataplane/desired.ts'
import { KernelDataplane, type KernelDataplaneOptions } from '../../../src/dataplane/kernel.ts'
import { toErrorBody } from '../../../src/errors.ts'
import { createLogger } from '../../../src/log.ts'
import { systemRandom } from '../../../src/random.ts'

type Command =
  | { op: 'start' | 'engines' | 'counters' | 'tunnels' }
  | { op: 'apply'; desired: DesiredState }
  | { op: 'stop'; mode: 'remove' | 'keep'; drainMs: number }

const options = JSON.parse(process.argv[2] ?? '{}') as Pick<KernelDataplaneOptions, 'stateDir'> &
  Partial<KernelDataplaneOptions>
const log = await createLogger({ level: 'debug', format: 'json' })
const dataplane = new KernelDataplane({
  dataListen: '0.0.0.0:7947',
  privateKeys: { pegasus: Buffer.alloc(32, 1).toString('base64'), tempest: Buffer.alloc(32, 2).toString('base64') },
  clock: systemClock,
  random: systemRandom,
  log,
  ...options
})
const answer = (value: object): void => void process.stdout.write(`${JSON.stringify(value)}\n`)
dataplane.onEvent((event) => {
  if (event.type !== 'applied') answer({ event })
})
answer({ ready: true })

const pending = setInterval(() => {}, 60_000)
for await (const line of createInterface({ input: process.stdin })) {
  void run(JSON.parse(line) as Command & { id: number })
}
clearInterval(pending)

async function run(command: Command & { id: number }): Promise<void> {
  try {
    answer({ id: command.id, result: (await perform(command)) ?? null })
  } catch (error) {
    answer({ id: command.id, error: { ...toErrorBody(error), text: String(error) } })
  }
}

async function perform(command: Command): Promise<unknown> {
  switch (command.op) {
    case 'start':
      return dataplane.start()
    case 'apply': {
      const { services, ...applied } = await dataplane.apply(command.desired)
      return { ...applied, services: Object.fromEntries(services) }
    }
    case 'engines':
      return dataplane.engines()
    case 'counters':
      return Object.fromEntries(await dataplane.counters())
    case 'tunnels':
      return dataplane.tunnels()
    case 'stop':
      return dataplane.stop(command)
  }
}
