import type { AnyActorLogic } from 'xstate'
import type { Clock } from '../../clock.ts'
import type { RestartPolicy } from './restarts.ts'
import { fromSupervisor, type SupervisorLogic } from './supervisor.logic.ts'

/**
 * A supervisor of many children of one kind (peers, services, routes, tunnels). One that keeps failing is quarantined:
 * the rest of the pool must never pay for it.
 */
export const fromPool = (
  kind: string,
  logic: AnyActorLogic,
  options: { clock: Clock; policy?: Partial<RestartPolicy> }
): SupervisorLogic =>
  fromSupervisor({
    clock: options.clock,
    logics: { [kind]: logic },
    policy: { onGiveUp: 'quarantine', ...options.policy }
  })
