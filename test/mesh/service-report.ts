import type { ServiceReport } from '../../src/mesh/mesh.ts'

/** What a source says of a service that is in force, but for what a test is about. */
export const serviceReport = (service_id: string, change: Partial<ServiceReport> = {}): ServiceReport => ({
  service_id,
  role: 'source',
  spec: '',
  state: 'applied',
  reason: '',
  message: '',
  since: 0,
  effective_transport: null,
  interface: null,
  flows: 0,
  bytes_in: 0,
  bytes_out: 0,
  ...change
})
