/**
 * The folder that holds `package.json` and `engines/`. Modules of this folder and chunks of the bundle (`dist/`) both stand
 * one level below it, so that this one line is right in either.
 */
export const root = new URL('..', import.meta.url)
