import type { FlowRecord } from '../dataplane/desired.ts'
import { flowsRememberedMax } from './limits.ts'

/** The flows that have ended last here, for who looks now and was not there when they did. */
export class FlowLog {
  readonly #ended: Array<FlowRecord & { at: number }> = []

  /** `at`: wall-clock ms. */
  add(flow: FlowRecord, at: number): void {
    this.#ended.push({ ...flow, at })
    if (this.#ended.length > flowsRememberedMax) this.#ended.shift()
  }

  /** Newest first. */
  latest(): Array<FlowRecord & { at: number }> {
    return this.#ended.toReversed()
  }
}
