import type {
  DesiredPeer,
  DesiredState,
  InboundService,
  OutboundService,
  SteeringRoute
} from '../../../src/dataplane/desired.ts'

/** Desired states in few words. Ids look like the real ones: 26 characters. */
export const serviceId = (n: number): string => `01SVC${String(n).padStart(21, '0')}`
/** Services with a device need ids that differ in their first 15 characters. */
export const deviceServiceId = (n: number): string => `01DEV${String(n).padStart(10, '0')}${'0'.repeat(11)}`
export const routeId = (n: number): string => `01RTE${String(n).padStart(21, '0')}`

export const peer = (n: number, address = `10.9.0.${n}`): DesiredPeer => ({
  id: `12D3KooWPeer${n}`,
  dataAddresses: [`${address}:7947`],
  pegasusKey: Buffer.alloc(32, n).toString('base64'),
  tempestKey: Buffer.alloc(32, n + 100).toString('base64')
})

export const route = (n: number, serviceOf: string, fields: Partial<SteeringRoute>): SteeringRoute => ({
  id: routeId(n),
  serviceId: serviceOf,
  sourceCidr: null,
  destCidr: null,
  priority: 100,
  ...fields
})

export const outbound = (
  id: string,
  target: DesiredPeer,
  routes: SteeringRoute[],
  fields: Partial<OutboundService> = {}
): OutboundService => ({
  id,
  spec: `spec of ${id} ${JSON.stringify([routes, fields])}`,
  targetPeer: target.id,
  transport: 'tcp',
  bandwidthLimitMbps: 0,
  fullyTransparent: false,
  interface: null,
  routes,
  ...fields
})

export const inbound = (
  id: string,
  source: DesiredPeer,
  routes: SteeringRoute[],
  fields: Partial<InboundService> = {}
): InboundService => ({
  id,
  spec: `spec of ${id} ${JSON.stringify([routes, fields])}`,
  sourcePeer: source.id,
  transport: 'tcp',
  bandwidthLimitMbps: 0,
  fullyTransparent: false,
  routes,
  ...fields
})

export const desired = (fields: Partial<DesiredState>): DesiredState => ({
  self: '12D3KooWSelf',
  peers: [],
  outbound: [],
  inbound: [],
  endpoints: [],
  ...fields
})
