import { setup } from 'xstate'
import type { TakesMeta } from '../runtime/takes.ts'

export interface KeysInput {
  /** Begins a change of keys. Rejects when it cannot be. */
  rotate: () => Promise<void>
}

export type KeysEvent = { type: 'keys.rotate' } | { type: 'keys.changing' } | { type: 'keys.settled' }

/**
 * The static keys of this peer's data planes: so that an admin elsewhere can see whether they are being changed, and have
 * them changed.
 *
 * ```
 *  settled ──rotate──▶ asked ──changing──▶ changing ──settled──▶ settled
 *     └──changing──────────────────────────▲
 * ```
 */
export const keysMachine = setup({
  types: { context: {} as KeysInput, input: {} as KeysInput, events: {} as KeysEvent, meta: {} as TakesMeta },
  actions: {
    // Why it cannot be is logged by who does it; the state goes on from what is told next.
    rotate: ({ context, self }) => {
      void context.rotate().catch(() => self.send({ type: 'keys.settled' }))
    }
  }
}).createMachine({
  id: 'keys',
  meta: { takes: { 'keys.rotate': {} } },
  context: ({ input }) => input,
  initial: 'settled',
  on: { 'keys.changing': '.changing', 'keys.settled': '.settled' },
  states: {
    settled: { on: { 'keys.rotate': { target: 'asked', actions: 'rotate' } } },
    asked: {},
    changing: {}
  }
})
