import type { Logger } from '../log.ts'
import type { FlowRecord } from './desired.ts'

/** Exactly one line for each finished flow on each side, the way an operator greps: who, where, bytes, why it ended. */
export function logFlow(pegasus: Logger, flow: FlowRecord): void {
  const fields = {
    side: flow.side,
    service: flow.serviceId,
    peer: flow.peer,
    client: flow.client,
    destination: flow.destination,
    dialled_from: flow.dialledFrom,
    dialled: flow.dialled,
    bytes_in: flow.bytesIn,
    bytes_out: flow.bytesOut,
    duration_ms: flow.durationMs,
    connect_ms: flow.connectMs,
    first_byte_ms: flow.firstByteMs,
    reason: flow.reason
  }
  pegasus.info(fields, 'flow closed')
}
