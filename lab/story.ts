import { systemClock } from '../src/clock.ts'

/** What a step shows: pairs of a label and what was seen. A check that does not hold makes the step fail. */
export interface Evidence {
  show: (label: string, seen: string) => void
  check: (holds: boolean, label: string, seen: string) => void
}

const LABEL_WIDTH = 30

/** Tells a run step by step on stdout: a tick or a cross, what it took, and the evidence under it. */
export class Story {
  failed = 0
  #steps = 0
  readonly #colour: boolean
  readonly #write: (text: string) => void

  constructor({
    colour = process.stdout.isTTY && process.env['NO_COLOR'] == null,
    write = (text: string): void => void process.stdout.write(text)
  } = {}) {
    this.#colour = colour
    this.#write = write
  }

  say(text = ''): void {
    this.#write(`${text}\n`)
  }

  /** Runs one step. What it throws is told as its failure; the answer says whether all of it held. */
  async step(title: string, work: (evidence: Evidence) => Promise<void>): Promise<boolean> {
    const start = systemClock.monotonic()
    const lines: string[] = []
    let failed = false
    const line = (mark: string, label: string, seen: string): void => {
      // Further lines of what was seen stand under its first.
      const indented = seen.split('\n').join(`\n${' '.repeat(LABEL_WIDTH + 7)}`)
      lines.push(`     ${mark} ${label.padEnd(LABEL_WIDTH)}${indented}`)
    }
    try {
      await work({
        show: (label, seen) => line(' ', label, seen),
        check: (holds, label, seen) => {
          failed ||= !holds
          line(holds ? this.#green('✓') : this.#red('✗'), label, seen)
        }
      })
    } catch (error) {
      failed = true
      line(this.#red('✗'), 'stopped', error instanceof Error ? error.message : String(error))
    }
    const took = `${((systemClock.monotonic() - start) / 1000).toFixed(1)} s`
    const mark = failed ? this.#red('✗') : this.#green('✓')
    this.say(`${mark} ${this.#bold(`${this.#steps++}  ${title}`)}  ${this.#dim(took)}`)
    for (const text of lines) this.say(text)
    this.say()
    if (failed) this.failed += 1
    return !failed
  }

  #paint(code: number, text: string): string {
    return this.#colour ? `\u001B[${code}m${text}\u001B[0m` : text
  }
  #green(text: string): string {
    return this.#paint(32, text)
  }
  #red(text: string): string {
    return this.#paint(31, text)
  }
  #bold(text: string): string {
    return this.#paint(1, text)
  }
  #dim(text: string): string {
    return this.#paint(2, text)
  }
}
