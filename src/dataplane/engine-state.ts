import { stateText } from './state-text.ts'

/** A state that engines are told: whole, or by what differs from another one. Texts are made when they are first needed. */
export interface EngineState {
  /** JSON, on one line. */
  text(): string
  /** What makes this state of `before`, as JSON on one line; null where the whole state has to be told. */
  since(before: EngineState): string | null
}

/** `changeOf` answers null for two states that have too little in common; without it a state is always told whole. */
export function engineState<S extends object>(
  state: S,
  changeOf: (before: S, after: S) => object | null = () => null
): EngineState {
  return new ToldState(state, changeOf)
}

class ToldState<S extends object> implements EngineState {
  readonly #state: S
  readonly #changeOf: (before: S, after: S) => object | null
  #text: string | null = null
  /**
   * Engines that carry on beside each other are told the same. It must not keep the state before, which has one before it
   * too: all that was ever told would stay in memory.
   */
  #since: { before: WeakRef<EngineState>; text: string | null } | null = null

  constructor(state: S, changeOf: (before: S, after: S) => object | null) {
    this.#state = state
    this.#changeOf = changeOf
  }

  text(): string {
    return (this.#text ??= stateText(this.#state, ''))
  }

  since(before: EngineState): string | null {
    if (this.#since?.before.deref() === before) return this.#since.text
    const change = before instanceof ToldState ? this.#changeOf((before as ToldState<S>).#state, this.#state) : null
    const text = change == null ? null : JSON.stringify(change)
    this.#since = { before: new WeakRef(before), text }
    return text
  }
}
