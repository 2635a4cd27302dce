/** Runs tasks of one key one after the other, tasks of different keys side by side. */
export class KeyedSerial {
  readonly #last = new Map<string, Promise<unknown>>()

  run<T>(key: string, task: () => Promise<T>): Promise<T> {
    const before = this.#last.get(key) ?? Promise.resolve()
    const run = before.then(task, task)
    this.#last.set(key, run)
    const forget = (): void => {
      if (this.#last.get(key) === run) this.#last.delete(key)
    }
    run.then(forget, forget)
    return run
  }
}
