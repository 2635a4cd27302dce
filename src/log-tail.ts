import { logTailBytesMax, logTailLinesMax } from './limits.ts'

/** The log's last lines in memory, so that a report has them wherever the log itself went. */
export class LogTail {
  readonly #lines: string[] = []
  #bytes = 0

  add(line: string): void {
    const text = line.trimEnd()
    this.#lines.push(text)
    this.#bytes += text.length
    while (this.#lines.length > logTailLinesMax || this.#bytes > logTailBytesMax) {
      this.#bytes -= this.#lines.shift()?.length ?? 0
    }
  }

  /** Oldest first; each is one line of JSON. */
  lines(): string[] {
    return [...this.#lines]
  }
}
