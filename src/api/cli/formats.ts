/** What `-o` takes. Apart from the printer, so that help does not load what it does not need. */
export const FORMATS = ['table', 'wide', 'json', 'yaml', 'name', 'jsonl'] as const
export type Format = (typeof FORMATS)[number]

/** Shells that `completion` knows. */
export const SHELLS = ['bash', 'zsh', 'fish'] as const
