import { UnavailableError } from '../errors.ts'

/**
 * How somebody spoke a protocol wrongly. `malformed`: garbage, or of another version. `silent`: nothing came in time.
 * `invalid`: well-formed, yet not signed by who it names, of another cluster, or not allowed. `cut_short`: it ended in the
 * middle, as it also does when a peer is stopped.
 */
export type Refusal = 'malformed' | 'oversized' | 'out_of_turn' | 'silent' | 'invalid' | 'cut_short'

/** The other side does not speak a protocol as it should: the stream ends, and nothing of it counts. */
export class MisspokenError extends UnavailableError {
  readonly reason: Refusal

  constructor(reason: Refusal, message: string) {
    super(message)
    this.reason = reason
  }
}
