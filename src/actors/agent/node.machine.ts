import { fromCallback, setup } from 'xstate'
import type { PeerId } from '../../crdt/schema.ts'
import type { Mesh, PeerPresence } from '../../mesh/mesh.ts'

export interface NodeInput {
  mesh: Mesh
  onPresence: (presence: PeerPresence) => void
  onReport: Parameters<Mesh['onReport']>[0]
}

export type NodeEvent = { type: 'presence.changed'; others: number }

/**
 * The ear on the mesh, and whether any other peer answers.
 *
 * ```
 *  alone ◀──presence.changed──▶ connected
 * ```
 */
export const nodeMachine = setup({
  types: { context: {} as NodeInput, input: {} as NodeInput, events: {} as NodeEvent },
  actors: {
    mesh: fromCallback<NodeEvent, NodeInput>(({ input: { mesh, onPresence, onReport }, sendBack }) => {
      const reachable = new Set<PeerId>()
      const changed = (presence: PeerPresence): void => {
        const before = reachable.size
        if (presence.reachable && presence.id !== mesh.self) reachable.add(presence.id)
        else reachable.delete(presence.id)
        if (reachable.size !== before) sendBack({ type: 'presence.changed', others: reachable.size })
        onPresence(presence)
      }
      const unsubscribes = [mesh.onPresence(changed), mesh.onReport(onReport)]
      for (const presence of mesh.peers()) changed(presence)
      return () => {
        for (const unsubscribe of unsubscribes) unsubscribe()
      }
    })
  },
  guards: { others: (_, others: number) => others > 0 }
}).createMachine({
  id: 'node',
  context: ({ input }) => input,
  invoke: { src: 'mesh', id: 'watch:mesh', input: ({ context }) => context },
  initial: 'alone',
  on: {
    'presence.changed': [
      { guard: { type: 'others', params: ({ event }) => event.others }, target: '.connected' },
      { target: '.alone' }
    ]
  },
  states: { alone: {}, connected: {} }
})
