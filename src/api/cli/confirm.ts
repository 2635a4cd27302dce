import type { Readable, Writable } from 'node:stream'
import { createInterface } from 'node:readline/promises'

/** Asks on the terminal, question on stderr. Only `y` and `yes` are a yes. Rejects when the signal aborts. */
export async function askTerminal(
  question: string,
  { stdin, stderr, signal }: { stdin: Readable; stderr: Writable; signal: AbortSignal }
): Promise<boolean> {
  const lines = createInterface({ input: stdin, output: stderr, terminal: false })
  try {
    // Input that ends without an answer is a no.
    const closed = new Promise<string>((resolve) => lines.once('close', () => resolve('')))
    const answer = await Promise.race([lines.question(`${question} [y/N] `, { signal }), closed])
    return /^y(es)?$/i.test(answer.trim())
  } finally {
    lines.close()
  }
}
