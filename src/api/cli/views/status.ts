import type { StatusJson } from '../../../actors/operator/operator.ts'
import { duration, orDash, state } from '../humane.ts'
import { type Cell, record, table } from '../table.ts'

export function statusText(status: StatusJson, colours: boolean): string {
  const { peer, cluster, dataplane, services, listen, license } = status
  const ready: Cell = status.ready
    ? { text: ['yes', ...status.reasons].join('; '), colour: status.reasons.length === 0 ? 'green' : 'yellow' }
    : { text: ['no', ...status.reasons].join('; '), colour: 'red' }
  const head = record(
    [
      ['peer', `${peer.name} (${peer.id})`],
      ['version', peer.version],
      ['up for', duration(peer.uptime_seconds)],
      ['ready', ready],
      [
        'cluster',
        cluster == null
          ? 'none'
          : `${cluster.name}, ${cluster.reachable} of ${cluster.members} members reachable${cluster.role == null ? '' : `, ${cluster.role} here`}`
      ],
      [
        'services',
        `${services.total}: ${services.active} active, ${services.pending} pending, ${services.degraded} degraded`
      ],
      ['data plane', dataplane.mode],
      ...(dataplane.failure == null
        ? []
        : ([
            ['failure', { text: `${dataplane.failure.reason}: ${dataplane.failure.message}`, colour: 'red' }]
          ] as const)),
      ['mesh', orDash(listen.mesh.join(' '))],
      ['data', listen.data],
      ['API', `${listen.socket}${listen.api == null ? '' : `, ${listen.api}`}`],
      ...(listen.api_fingerprint == null ? [] : ([['API fingerprint', listen.api_fingerprint]] as const)),
      [
        'licence',
        license.problem == null ? license.edition : { text: `${license.edition}; ${license.problem}`, colour: 'red' }
      ],
      ['state', peer.state_dir]
    ],
    colours
  )
  if (dataplane.engines.length === 0) return head
  const engines = table(
    ['ENGINE', 'STATE', 'PID', 'VERSION', 'RESTARTS'],
    dataplane.engines.flatMap((engine): Cell[][] => [
      [engine.engine, state(engine.state), orDash(engine.pid), orDash(engine.version), String(engine.restarts)],
      ...engine.draining.map(({ pid, version }) => [engine.engine, 'draining', String(pid), version, '-'])
    ]),
    colours
  )
  return `${head}\n${engines}`
}
