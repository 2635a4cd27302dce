import { setup } from 'xstate'
import type { TakesMeta } from '../runtime/takes.ts'

export interface EngineInput {
  engine: 'pegasus' | 'tempest'
}

export type EngineEvent =
  /** The data plane does without engines here. */
  { type: 'engine.disabled' } | { type: 'engine.started' } | { type: 'engine.ready' } | { type: 'engine.exited' }

/**
 * One engine process as the data plane reports it; the data plane itself starts it again.
 *
 * ```
 *  stopped ──started──▶ starting ──ready──▶ ready ──exited──▶ failed ──started──▶ starting
 *  any ──disabled──▶ disabled
 * ```
 */
export const engineMachine = setup({
  types: { context: {} as EngineInput, input: {} as EngineInput, events: {} as EngineEvent, meta: {} as TakesMeta }
}).createMachine({
  id: 'engine',
  meta: { takes: { 'engine.disabled': {}, 'engine.started': {}, 'engine.ready': {}, 'engine.exited': {} } },
  context: ({ input }) => input,
  initial: 'stopped',
  on: {
    'engine.disabled': '.disabled',
    'engine.started': '.starting',
    'engine.ready': '.ready',
    'engine.exited': '.failed'
  },
  states: { stopped: {}, disabled: {}, starting: {}, ready: {}, failed: {} }
})
