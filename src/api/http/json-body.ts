import { InvalidRequestError } from '../../errors.ts'
import { utf8Text } from '../../utf8.ts'

/** The text of a body, without a byte order mark. InvalidRequestError when it is not UTF-8: nothing is guessed or replaced. */
export function bodyText(bytes: Uint8Array): string {
  const text = utf8Text(bytes)
  if (text == null) throw new InvalidRequestError('the body is not UTF-8; send JSON in UTF-8')
  return text
}

/**
 * Refuses `{"name": "a", "name": "b"}`: `JSON.parse` keeps the last one without a word, so that one of two things asked for
 * would be dropped. `text` has to be good JSON. InvalidRequestError names the field.
 */
export function refuseRepeatedFields(text: string): void {
  const open: Array<Set<string>> = []
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at)
    if (code === OPEN) open.push(new Set())
    else if (code === CLOSE) open.pop()
    else if (code === QUOTE) {
      const end = endOfString(text, at)
      if (isName(text, end)) note(open.at(-1), JSON.parse(text.slice(at, end)) as string)
      at = end - 1
    }
  }
}

const [OPEN, CLOSE, QUOTE, COLON, BACKSLASH, SPACE] = [...'{}":\\ '].map((one) => one.charCodeAt(0)) as [
  number,
  number,
  number,
  number,
  number,
  number
]

function note(seen: Set<string> | undefined, field: string): void {
  if (seen?.has(field) === true) {
    throw new InvalidRequestError(`the field "${field}" is given twice; keep one of them`, { field, in: 'body' })
  }
  seen?.add(field)
}

/** Where the string that begins at `start` is over. A regular expression would need a stack as deep as it has escapes. */
function endOfString(text: string, start: number): number {
  let at = start + 1
  while (at < text.length && text.charCodeAt(at) !== QUOTE) at += text.charCodeAt(at) === BACKSLASH ? 2 : 1
  return at + 1
}

/** A string is the name of a field when a colon follows it. */
function isName(text: string, end: number): boolean {
  let at = end
  // All blanks of JSON are the space and what is before it.
  while (at < text.length && text.charCodeAt(at) <= SPACE) at++
  return text.charCodeAt(at) === COLON
}
