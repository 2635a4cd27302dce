import { assign, fromCallback, fromPromise, setup } from 'xstate'
import type { AppliedState, Dataplane, DataplaneEvent, DesiredState } from '../../dataplane/desired.ts'
import { formatAddress, formatPrefix } from '../../dataplane/prefix.ts'
import type { Logger } from '../../log.ts'
import { applyRetryMaxMs, applyRetryMinMs, applySlowMs } from '../limits.ts'
import type { TakesMeta } from '../runtime/takes.ts'

export interface NetmgrInput {
  dataplane: Dataplane
  log: Logger
  /** Told after each apply, with the state that was applied. */
  onApplied: (applied: AppliedState, desired: DesiredState) => void
  /** What the data plane says by itself. */
  onEvent: (event: DataplaneEvent) => void
}

interface NetmgrContext extends NetmgrInput {
  /** The newest wish. */
  wanted: DesiredState | null
  /** The one in flight, or the last one that was. */
  applying: DesiredState | null
  applied: AppliedState | null
  /** What steering goes by at this host, for whoever looks: its addresses, and the networks it is attached to. */
  host: { addresses: string[]; networks: string[] } | null
  /** Applies in a row that left something failed. */
  failures: number
}

export type NetmgrEvent =
  | { type: 'netmgr.apply'; desired: DesiredState }
  /** An operator has mended something and does not want to wait for the next try. */
  | { type: 'netmgr.retry' }

/**
 * Brings the host to the newest desired state: one apply at a time, what arrives meanwhile waits and only the newest
 * counts. What failed is tried again after a while, since an operator may mend the cause without telling us.
 *
 * ```
 *  idle ──apply──▶ applying ──done──▶ applied ──apply──▶ applying
 *                   ▲  │ a newer wish waits: again
 *                   │  └─error, or done with failures──▶ impaired ──after backoff, apply──▶ applying
 * ```
 */
export const netmgrMachine = setup({
  types: { context: {} as NetmgrContext, input: {} as NetmgrInput, events: {} as NetmgrEvent, meta: {} as TakesMeta },
  actors: {
    events: fromCallback<NetmgrEvent, NetmgrInput>(({ input: { dataplane, onEvent } }) => dataplane.onEvent(onEvent)),
    apply: fromPromise<AppliedState, { dataplane: Dataplane; desired: DesiredState }>(({ input }) =>
      input.dataplane.apply(input.desired)
    )
  },
  guards: {
    wanting: ({ context }) => context.wanted != null,
    outdated: ({ context }) => context.wanted !== context.applying,
    impaired: ({ context }) => context.dataplane.mode === 'kernel' && hasFailures(context.applied)
  },
  actions: {
    want: assign((_, { desired }: { desired: DesiredState }) => ({ wanted: desired, failures: 0 })),
    take: assign(({ context }) => ({ applying: context.wanted })),
    remember: assign(({ context }, applied: AppliedState) => ({
      applied,
      host: hostOf(context.dataplane),
      failures: hasFailures(applied) ? context.failures + 1 : 0
    })),
    tell: ({ context: { onApplied, applied, applying } }) => {
      if (applied != null && applying != null) onApplied(applied, applying)
    },
    saySlow: ({ context: { log } }) => log.warn({ ms: applySlowMs }, 'the data plane is slow to take its new state')
  },
  delays: {
    retry: ({ context }) => Math.min(applyRetryMinMs * 2 ** Math.max(0, context.failures - 1), applyRetryMaxMs),
    slow: applySlowMs
  }
}).createMachine({
  id: 'netmgr',
  meta: { takes: { 'netmgr.retry': {} } },
  context: ({ input }) => ({ ...input, wanted: null, applying: null, applied: null, host: null, failures: 0 }),
  invoke: { src: 'events', id: 'watch:dataplane', input: ({ context }) => context },
  initial: 'idle',
  on: {
    'netmgr.apply': { target: '.applying', actions: { type: 'want', params: ({ event }) => event } },
    'netmgr.retry': { guard: 'wanting', target: '.applying' }
  },
  states: {
    idle: {},
    applying: {
      entry: 'take',
      invoke: {
        src: 'apply',
        input: ({ context }) => ({ dataplane: context.dataplane, desired: context.wanted! }),
        onDone: {
          target: 'deciding',
          actions: [{ type: 'remember', params: ({ event }) => event.output }, 'tell']
        },
        onError: {
          target: 'deciding',
          actions: [
            { type: 'remember', params: ({ context, event }) => refused(context.applied, event.error) },
            'tell',
            ({ context, event }) => context.log.error({ error: event.error }, 'the data plane refused its new state')
          ]
        }
      },
      after: { slow: { actions: 'saySlow' } },
      // No target: the apply in flight goes on, the newest wish waits for its end.
      on: { 'netmgr.apply': { actions: { type: 'want', params: ({ event }) => event } }, 'netmgr.retry': {} }
    },
    deciding: {
      always: [
        { guard: 'outdated', target: 'applying' },
        { guard: 'impaired', target: 'impaired' },
        { target: 'applied' }
      ]
    },
    applied: {},
    impaired: { after: { retry: 'applying' } }
  }
})

function hostOf(dataplane: Dataplane): NetmgrContext['host'] {
  const host = dataplane.host?.()
  return host == null ? null : { addresses: host.own.map(formatAddress), networks: host.attached.map(formatPrefix) }
}

/** Answers are immutable, and each is asked about more than once. */
const failing = new WeakMap<AppliedState, boolean>()

function hasFailures(applied: AppliedState | null): boolean {
  if (applied == null) return false
  const known = failing.get(applied)
  if (known != null) return known
  let found = applied.failure != null
  applied.services.forEach(({ failure }) => (found ||= failure != null))
  failing.set(applied, found)
  return found
}

const refused = (before: AppliedState | null, error: unknown): AppliedState => ({
  generation: before?.generation ?? 0,
  services: new Map(),
  failure: { reason: 'ApplyFailed', message: error instanceof Error ? error.message : String(error) }
})
