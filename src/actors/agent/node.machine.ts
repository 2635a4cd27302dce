import { fromCallback, setup } from 'xstate'
import type { PeerId } from '../../crdt/schema.ts'
import type { Mesh, PeerPresence } from '../../mesh/mesh.ts'

export interface NodeInput {
  mesh: Mesh
  onPresence: (presence: PeerPresence) => void
  onReport: (peer: PeerId) => void
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
      const changed = (presence: PeerPresence): void => {
        const others = mesh.peers().filter((peer) => peer.reachable && peer.id !== mesh.self).length
        sendBack({ type: 'presence.changed', others })
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
