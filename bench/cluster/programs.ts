import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'

/** Programs of one contender, ended together. */
export class Programs {
  readonly #children: ChildProcess[] = []

  run(program: string, args: readonly string[]): void {
    this.#children.push(spawn(program, args, { stdio: 'ignore' }))
  }

  async stop(): Promise<void> {
    for (const child of this.#children.splice(0)) {
      if (child.exitCode != null || child.signalCode != null || child.pid == null) continue
      const exited = once(child, 'exit')
      child.kill('SIGKILL')
      await exited
    }
  }
}
