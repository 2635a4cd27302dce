/** What must never leave a host by way of a log, a report or a look into an actor. */

const HIDDEN = '[not shown]'

/** True for a field or setting whose name says that its value is a secret. */
export const isSecretName = (name: string): boolean =>
  /secret|token|private|password|psk|passphrase|authorization/i.test(name)

const SECRETS: readonly RegExp[] = [
  // Keys in PEM, to their end or the end of the text.
  /-----BEGIN [A-Z ]*PRIVATE KEY-----(?:[^-]|-(?!----END))*(?:-----END [A-Z ]*PRIVATE KEY-----)?/g,
  // Invites, API tokens, and whatever an HTTP client shows.
  /\barctic1\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*/g,
  /\barctic_[0-7][0-9A-HJKMNP-TV-Z]{25}_[A-Za-z0-9_-]+/g,
  /(?<=\bbearer +)[^\s"',]+/gi
]

/** `"name": "value"`, `name: value` and `name=value` of a secret's name, whatever the quotes; the value is the third group. */
const NAMED =
  /(["']?)\b(\w*(?:secret|private_?key|privatekey|password|passphrase|psk|presharedkey)\w*)\1(\s*[:=]\s*)("(?:[^"\\]|\\.)*"|'[^']*'|[^\s,;"'}]+)/gi

/**
 * A text without anything that is, or by its name must be, a secret; `known` are secrets to be found wherever they stand.
 * Ids and public keys stay.
 */
export function redact(text: string, known: readonly string[] = []): string {
  let shown = text
  for (const secret of known) if (secret !== '') shown = shown.replaceAll(secret, HIDDEN)
  for (const pattern of SECRETS) shown = shown.replaceAll(pattern, HIDDEN)
  return shown.replaceAll(NAMED, (_, quote: string, name: string, between: string, value: string) => {
    const mark = value.startsWith('"') ? '"' : value.startsWith("'") ? "'" : ''
    return `${quote}${name}${quote}${between}${mark}${HIDDEN}${mark}`
  })
}
