import { HostProcess } from '../../test/mesh/host-process.ts'
import { members, type System } from './system.ts'

/** Our control plane as an agent has it (identity, signed and fsynced log, libp2p over loopback TCP), a process each. */
export class Arctic implements System {
  readonly name = 'arctic'
  readonly #hosts: HostProcess[] = []
  readonly #ids = new Map<string, number>()

  async start(directory: string): Promise<void> {
    for (let i = 0; i < members; i++) this.#hosts.push(await HostProcess.start(directory, `peer-${i}`))
    const [founder, ...others] = this.#hosts
    await founder!.ask({ run: 'init' })
    const token = await founder!.ask<string>({ run: 'invite' })
    for (const host of others) await host.ask({ run: 'join', token })
  }

  async write(by: number, n: number): Promise<number> {
    const author = this.#hosts[by]!
    const target = this.#hosts[(by + 1) % members]!
    const { id, begun } = await author.ask<{ id: string; begun: number }>({ run: 'write', target: target.id })
    this.#ids.set(id, n)
    return begun
  }

  async seen(): Promise<ReadonlyMap<number, readonly number[]>> {
    const seen = new Map<number, number[]>()
    for (const host of this.#hosts) {
      for (const [id, at] of Object.entries(await host.ask<Record<string, number>>({ run: 'seen' }))) {
        const n = this.#ids.get(id)
        if (n != null) seen.set(n, [...(seen.get(n) ?? []), at])
      }
    }
    return seen
  }

  async stop(): Promise<void> {
    await Promise.all(this.#hosts.splice(0).map((host) => host.kill()))
    this.#ids.clear()
  }
}
