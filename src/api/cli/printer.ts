import type { Writable } from 'node:stream'

import type { Format } from './formats.ts'
import { namesOf } from './names.ts'

/** Data to stdout in the format asked for; remarks to stderr. */
export class Printer {
  readonly format: Format
  /** Colours are wanted and understood on stdout. */
  readonly colours: boolean
  readonly #kind: string | undefined
  readonly #terminal: boolean
  readonly #out: Writable
  readonly #err: Writable
  #documents = 0

  /** `kind` is what `-o name` calls the objects, e.g. `service`. */
  constructor(options: {
    format: Format
    kind?: string | undefined
    colours: boolean
    terminal: boolean
    out: Writable
    err: Writable
  }) {
    this.format = options.format
    this.#kind = options.kind
    this.colours = options.colours
    this.#terminal = options.terminal
    this.#out = options.out
    this.#err = options.err
  }

  /** Tables show all there is. */
  get wide(): boolean {
    return this.format === 'wide'
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
      case 'jsonl':
        for (const row of [value].flat()) this.#write(`${JSON.stringify(row)}\n`)
        break
      case 'name':
        this.#write(namesOf(value, this.#kind ?? 'object'))
        break
      case 'table':
      case 'wide': {
        const shown = await text()
        this.#write(`${this.#documents === 0 ? '' : '\n'}${shown}`)
      }
    }
    this.#documents++
  }

  /** One of many that come one by one: a line each in JSON too, whatever shows it. */
  async line(value: unknown, text: () => string): Promise<void> {
    if (this.format === 'json') this.#write(`${JSON.stringify(value)}\n`)
    else if (this.format === 'table' || this.format === 'wide') this.#write(text())
    else await this.data(value, text)
  }

  remark(text: string): void {
    this.#err.write(`${text}\n`)
  }

  #write(text: string): void {
    this.#out.write(text)
  }
}
