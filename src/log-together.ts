/** How pino begins a line that nobody is woken by. */
const MAY_WAIT = /^\{"level":"(?:info|debug|trace)"/

/**
 * Writes the lines of one turn of the event loop together: a hundred flows that have ended are one write, not a hundred. A line
 * that matters at once, a warning or worse, goes at once, behind those before it; and all go before the process ends.
 */
export class TogetherPerTurn {
  readonly #out: { write(lines: string): unknown }
  #waiting = ''

  constructor(out: { write(lines: string): unknown }) {
    this.#out = out
    process.on('exit', () => this.#flush())
  }

  write(line: string): void {
    if (this.#waiting === '') process.nextTick(() => this.#flush())
    this.#waiting += line
    if (!MAY_WAIT.test(line)) this.#flush()
  }

  #flush(): void {
    const lines = this.#waiting
    this.#waiting = ''
    if (lines !== '') this.#out.write(lines)
  }
}
