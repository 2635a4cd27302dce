import { assign, setup } from 'xstate'
import type { RouteId } from '../../crdt/schema.ts'
import type { TakesMeta } from '../runtime/takes.ts'

export interface RouteInput {
  id: RouteId
  /** What it asks for, as a person reads it. */
  wish: string
}

export type RouteEvent =
  | { type: 'route.changed'; wish: string }
  | { type: 'route.awaited' }
  | { type: 'route.programmed' }
  | { type: 'route.impaired' }

/**
 * One route of a service, on an endpoint of that service. It ends when the service or the replicated state drops it.
 *
 * ```
 *  pending ──programmed──▶ active
 *    ▲  ▲ └──impaired──┐    │ ▲
 *    │  └──awaited, changed─┤ │ programmed
 *    │                 ▼    ▼ │
 *    └──awaited────── degraded
 * ```
 */
export const routeMachine = setup({
  types: { context: {} as RouteInput, input: {} as RouteInput, events: {} as RouteEvent, meta: {} as TakesMeta },
  actions: {
    remember: assign((_, { wish }: { wish: string }) => ({ wish }))
  }
}).createMachine({
  id: 'route',
  meta: { takes: { 'route.awaited': {}, 'route.programmed': {}, 'route.impaired': {} } },
  context: ({ input }) => input,
  initial: 'pending',
  on: {
    'route.changed': { target: '.pending', actions: { type: 'remember', params: ({ event }) => event } },
    'route.awaited': '.pending',
    'route.programmed': '.active',
    'route.impaired': '.degraded'
  },
  states: { pending: {}, active: {}, degraded: {} }
})
