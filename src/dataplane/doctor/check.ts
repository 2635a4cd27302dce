/** One thing that `doctor` looked at: what it found, and how to mend it where something is wrong. */
export interface Check {
  name: string
  /** `warn`: something will not work for somebody; `fail`: arctic cannot do its work. */
  status: 'ok' | 'warn' | 'fail'
  found: string
  /** Null where nothing is to be done. */
  mend: string | null
}

export const ok = (name: string, found: string): Check => ({ name, status: 'ok', found, mend: null })
export const warn = (name: string, found: string, mend: string): Check => ({ name, status: 'warn', found, mend })
export const fail = (name: string, found: string, mend: string): Check => ({ name, status: 'fail', found, mend })
