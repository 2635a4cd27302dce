/** Texts by their code units, the same on every host; `localeCompare` goes by the locale. */
export const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)

export const byId = (a: { id: string }, b: { id: string }): number => compareText(a.id, b.id)
