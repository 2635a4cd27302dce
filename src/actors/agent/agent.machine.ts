import { setup } from 'xstate'
import type { Clock } from '../../clock.ts'
import type { Logger } from '../../log.ts'
import { peerMachine } from '../peer/peer.machine.ts'
import { fromPool } from '../runtime/pool.logic.ts'
import { fromSupervisor } from '../runtime/supervisor.logic.ts'
import { serviceMachine } from '../service/service.machine.ts'
import { tunnelMachine } from '../tunnel/tunnel.machine.ts'
import { engineMachine } from './engine.machine.ts'
import { keysMachine } from './keys.machine.ts'
import { netmgrMachine } from './netmgr.machine.ts'
import { nodeMachine } from './node.machine.ts'
import { replicaMachine } from './replica.machine.ts'

export interface AgentInput {
  log: Logger
  /** An actor that the agent cannot do without failed again and again: the process should end and be started anew. */
  onFatal: (error: unknown) => void
}

export type AgentEvent = { type: 'agent.drain' } | { type: 'agent.stop' }

/**
 * The root of all actors. Singletons (`replica node netmgr keys pegasus tempest`) stand under one supervisor that escalates;
 * peers, services and tunnels in a pool each, where one that keeps failing is quarantined.
 *
 * ```
 *  running ──drain──▶ draining ──stop──▶ stopped (final)
 *     └──a supervisor gave up──▶ failed
 * ```
 */
export const agentMachine = (clock: Clock) =>
  setup({
    types: { context: {} as AgentInput, input: {} as AgentInput, events: {} as AgentEvent },
    actors: {
      singletons: fromSupervisor({
        clock,
        logics: {
          replica: replicaMachine,
          node: nodeMachine,
          netmgr: netmgrMachine,
          keys: keysMachine,
          pegasus: engineMachine,
          tempest: engineMachine
        }
      }),
      peers: fromPool('peer', peerMachine, { clock }),
      services: fromPool('service', serviceMachine(clock), { clock }),
      tunnels: fromPool('tunnel', tunnelMachine, { clock })
    },
    actions: {
      giveUp: ({ context: { log, onFatal }, event }) => {
        const { error } = event as unknown as { error: unknown }
        log.error({ error }, 'a part of the agent failed too often; giving up')
        onFatal(error)
      }
    }
  }).createMachine({
    id: 'agent',
    context: ({ input }) => input,
    invoke: [
      { src: 'singletons', id: 'singletons' },
      { src: 'peers', id: 'peers' },
      { src: 'services', id: 'services' },
      { src: 'tunnels', id: 'tunnels' }
    ],
    initial: 'running',
    states: {
      running: {
        on: {
          'agent.drain': 'draining',
          'xstate.error.actor.*': {
            target: 'failed',
            actions: 'giveUp'
          }
        }
      },
      draining: { on: { 'agent.stop': 'stopped', 'xstate.error.actor.*': {} } },
      failed: { on: { 'agent.drain': 'draining', 'xstate.error.actor.*': {} } },
      stopped: { type: 'final' }
    }
  })
