/** Characters that a terminal shows two cells wide: East Asian ones and pictures. */
const WIDE =
  /[\u1100-\u115F\u2E80-\u303E\u3041-\uA4CF\uAC00-\uD7A3\uF900-\uFAFF\uFE30-\uFE6F\uFF00-\uFF60\uFFE0-\uFFE6]|\p{Emoji_Presentation}/u
/** Characters that take no cell of their own. */
const NONE = /[\p{Mn}\p{Me}\p{Cf}]/u

/** Cells that a text takes, colours aside. */
export function widthOf(text: string): number {
  let width = 0
  for (const character of text) width += cells(character)
  return width
}

const cells = (character: string): number => (NONE.test(character) ? 0 : WIDE.test(character) ? 2 : 1)

/** As much of a text as `width` cells hold. */
export function cut(text: string, width: number): string {
  let used = 0
  let kept = ''
  for (const character of text) {
    used += cells(character)
    if (used > width) break
    kept += character
  }
  return kept
}

export function padded(text: string, width: number, right: boolean): string {
  const blanks = ' '.repeat(Math.max(0, width - widthOf(text)))
  return right ? `${blanks}${text}` : `${text}${blanks}`
}
