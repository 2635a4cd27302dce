const utf8 = new TextDecoder('utf-8', { fatal: true })

/** The text of what was written in UTF-8, without a byte order mark; null when it is not UTF-8: nothing is guessed or replaced. */
export function utf8Text(bytes: Uint8Array): string | null {
  try {
    return utf8.decode(bytes)
  } catch {
    return null
  }
}
