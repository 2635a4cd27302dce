import type { PegasusState } from '../../../src/dataplane/pegasus.ts'

/** An engine's state with nothing in it. */
export const EMPTY: PegasusState = {
  data_listen: '127.0.0.1:0',
  self: 'a',
  bypass_mark: 1,
  peers: [],
  listeners: [],
  outbound: [],
  inbound: []
}
