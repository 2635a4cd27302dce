import type {
  ActivityJson,
  FlowActivityJson,
  ServiceActivityJson,
  TunnelActivityJson
} from '../../../actors/operator/activity.ts'

/** Bytes per second; null where there is nothing to compare with. */
export interface Rate {
  rate_in: number | null
  rate_out: number | null
}

/** An agent's activity with what flows right now, beside what has flowed. */
export type Model = Omit<ActivityJson, 'services' | 'tunnels' | 'flows'> & {
  services: Array<ServiceActivityJson & Rate>
  tunnels: Array<TunnelActivityJson & Rate>
  flows: Array<FlowActivityJson & Rate>
}

export interface Sample {
  activity: ActivityJson
  /** Monotonic ms. */
  at: number
}

type Counted = Pick<ServiceActivityJson, 'bytes_in' | 'bytes_out'>

/** Rates between two samples. A counter that has gone down belongs to an engine that has started anew: no rate then. */
export function modelOf({ activity, at }: Sample, previous: Sample | null): Model {
  const seconds = previous == null ? 0 : (at - previous.at) / 1000
  const rated = <T extends Counted>(rows: readonly T[], before: readonly T[], key: (row: T) => string) => {
    const held = new Map(before.map((row) => [key(row), row]))
    return rows.map((row) => ({ ...row, ...rateOf(row, held.get(key(row)), seconds) }))
  }
  return {
    ...activity,
    services: rated(activity.services, previous?.activity.services ?? [], ({ id }) => id),
    // What has ended flows no more.
    flows: rated(activity.flows, previous?.activity.flows ?? [], ({ service_id, client, destination }) =>
      [service_id, client, destination].join(' ')
    ).map((flow) => (flow.reason === 'open' ? flow : { ...flow, rate_in: null, rate_out: null })),
    tunnels: rated(activity.tunnels, previous?.activity.tunnels ?? [], ({ peer_id, device }) => `${peer_id} ${device}`)
  }
}

function rateOf(now: Counted, before: Counted | undefined, seconds: number): Rate {
  if (before == null || seconds <= 0) return { rate_in: null, rate_out: null }
  const rate = (from: number, to: number): number | null => (to < from ? null : Math.round((to - from) / seconds))
  return { rate_in: rate(before.bytes_in, now.bytes_in), rate_out: rate(before.bytes_out, now.bytes_out) }
}
