import { InvalidRequestError } from '../../errors.ts'

const utf8 = new TextDecoder('utf-8', { fatal: true })

/** The text of a body, without a byte order mark. InvalidRequestError when it is not UTF-8: nothing is guessed or replaced. */
export function bodyText(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes)
  } catch {
    throw new InvalidRequestError('the body is not UTF-8; send JSON in UTF-8')
  }
}

/**
 * Refuses `{"name": "a", "name": "b"}`: `JSON.parse` keeps the last one without a word, so that one of two things asked for
 * would be dropped. `text` has to be good JSON. InvalidRequestError names the field.
 */
export function refuseRepeatedFields(text: string): void {
  const open: Array<Set<string>> = []
  for (const [token, name] of text.matchAll(TOKENS)) {
    if (token === '{') open.push(new Set())
    else if (token === '}') open.pop()
    else if (name != null) {
      const field = JSON.parse(name) as string
      const seen = open.at(-1)
      if (seen?.has(field) === true) {
        throw new InvalidRequestError(`the field "${field}" is given twice; keep one of them`, { field, in: 'body' })
      }
      seen?.add(field)
    }
  }
}

/** Braces, names of fields (the group), and texts, so that what stands in a text is not taken for the others. */
const TOKENS = /[{}]|("[^"\\]*(?:\\.[^"\\]*)*")(?=\s*:)|"[^"\\]*(?:\\.[^"\\]*)*"/g
