import type { Writable } from 'node:stream'

export type Format = 'table' | 'json' | 'yaml'

/** Data to stdout in the format asked for; remarks to stderr. */
export class Printer {
  readonly format: Format
  /** Colours are wanted and understood on stdout. */
  readonly colours: boolean
  readonly #terminal: boolean
  readonly #out: Writable
  readonly #err: Writable
  #documents = 0

  constructor(options: { format: Format; colours: boolean; terminal: boolean; out: Writable; err: Writable }) {
    this.format = options.format
    this.colours = options.colours
    this.#terminal = options.terminal
    this.#out = options.out
    this.#err = options.err
  }

  /** Prints `value`, or for people what `text` makes of it. JSON is one line unless a terminal shows it. */
  async data(value: unknown, text: () => string | Promise<string>): Promise<void> {
    switch (this.format) {
      case 'json':
        this.#write(`${JSON.stringify(value, null, this.#terminal ? 2 : undefined)}\n`)
        break
      case 'yaml': {
        const { stringify } = await import('yaml')
        // Documents of one stream are told apart by `---`; `--watch` prints many.
        this.#write(`${this.#documents === 0 ? '' : '---\n'}${stringify(value)}`)
        break
      }
      case 'table': {
        const shown = await text()
        this.#write(`${this.#documents === 0 ? '' : '\n'}${shown}`)
      }
    }
    this.#documents++
  }

  remark(text: string): void {
    this.#err.write(`${text}\n`)
  }

  #write(text: string): void {
    this.#out.write(text)
  }
}
