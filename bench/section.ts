import { readFileSync, writeFileSync } from 'node:fs'

const marks = (name: string): [from: string, to: string] => [`<!-- ${name} -->`, `<!-- end of ${name} -->`]

/** Puts a named section into a file of Markdown, in place of the one that is there, else at its end. */
export function replaceSection(path: string, name: string, text: string): void {
  const [from, to] = marks(name)
  const old = readFileSync(path, 'utf8')
  const [start, end] = [old.indexOf(from), old.indexOf(to)]
  const made = `${from}\n\n${text.trim()}\n\n${to}\n`
  const next =
    start === -1 || end < start
      ? `${old.trimEnd()}\n\n${made}`
      : `${old.slice(0, start)}${made}${old.slice(end + to.length + 1)}`
  writeFileSync(path, next)
}

/** All named sections of such a file: what whoever writes the rest anew has to keep. */
export const namedSections = (text: string): string[] =>
  [...text.matchAll(/<!-- ([\w-]+) -->\n[\s\S]*?<!-- end of \1 -->\n/g)].map(([whole]) => whole)
