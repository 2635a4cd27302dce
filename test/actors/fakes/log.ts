import type { Logger } from '../../../src/log.ts'

/** Remembers what was said, and throws where a test wants a bug: a log that fails is one as good as any. */
export class FakeLog implements Logger {
  readonly said: Array<{ level: string; message: string; fields: Record<string, unknown> }> = []
  throwOn: (message: string) => boolean = () => false

  #say(level: string, fields: object, message: string): void {
    this.said.push({ level, message, fields: { ...fields } })
    if (this.throwOn(message)) throw new Error(`the log failed on "${message}"`)
  }

  trace = (fields: object, message: string): void => this.#say('trace', fields, message)
  debug = (fields: object, message: string): void => this.#say('debug', fields, message)
  info = (fields: object, message: string): void => this.#say('info', fields, message)
  warn = (fields: object, message: string): void => this.#say('warn', fields, message)
  error = (fields: object, message: string): void => this.#say('error', fields, message)
  module = (): Logger => this

  messages(level: string): string[] {
    return this.said.filter((line) => line.level === level).map(({ message }) => message)
  }
}
