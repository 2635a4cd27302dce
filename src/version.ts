import manifest from '../package.json' with { type: 'json' }

/** The version this process runs, as `status`, `peers list` and `/metrics` show it. */
export const version: string = manifest.version
