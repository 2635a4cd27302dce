import { fromCallback, setup } from 'xstate'
import type { View } from '../../crdt/view.ts'
import type { ReplicaPort } from '../ports.ts'

export interface ReplicaInput {
  replica: ReplicaPort
  onView: (view: View, previous: View) => void
}

export type ReplicaEvent = { type: 'view.changed'; member: boolean }

/**
 * The ear on the replicated state, and whether this peer belongs to a cluster.
 *
 * ```
 *  outside ◀──view.changed──▶ member
 * ```
 */
export const replicaMachine = setup({
  types: { context: {} as ReplicaInput, input: {} as ReplicaInput, events: {} as ReplicaEvent },
  actors: {
    views: fromCallback<ReplicaEvent, ReplicaInput>(({ input, sendBack }) => {
      let member = false
      const changed = (view: View, previous: View): void => {
        const before = member
        member = view.cluster != null
        if (member !== before) sendBack({ type: 'view.changed', member })
        input.onView(view, previous)
      }
      const unsubscribe = input.replica.onView(changed)
      // Whatever came while nobody listened counts as one change.
      const view = input.replica.view()
      changed(view, view)
      return unsubscribe
    })
  },
  guards: { member: (_, member: boolean) => member }
}).createMachine({
  id: 'replica',
  context: ({ input }) => input,
  invoke: { src: 'views', id: 'watch:view', input: ({ context }) => context },
  initial: 'outside',
  on: {
    'view.changed': [
      { guard: { type: 'member', params: ({ event }) => event.member }, target: '.member' },
      { target: '.outside' }
    ]
  },
  states: { outside: {}, member: {} }
})
