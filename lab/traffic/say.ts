/** One JSON object per line on stdout: how the traffic tools tell their story to whoever started them. */
export const say = (event: string, fields: object = {}): void => {
  process.stdout.write(`${JSON.stringify({ event, ...fields })}\n`)
}

/** The tool's arguments; ends with a usage line when fewer than `names` are given. */
export function argumentsOf(...names: string[]): string[] {
  const given = process.argv.slice(2)
  if (given.length >= names.length) return given
  process.stderr.write(`usage: ${process.argv[1]} ${names.join(' ')}\n`)
  process.exit(2)
}
