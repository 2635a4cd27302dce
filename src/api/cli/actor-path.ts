import { Failure } from './failure.ts'

/** Where the API has an actor. Throws not_found for the one name that has another meaning there: the watch, which never ends. */
export function actorAt(path: string): string {
  if (path === 'watch') {
    throw new Failure('not_found', 'no actor "watch" lives here; see "arctic actors tree"', {
      details: { actor: path }
    })
  }
  return `/v1/actors/${encodeURIComponent(path)}`
}
