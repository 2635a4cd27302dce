import type { ClusterJson, LeaveJson, SyncJson } from '../../../actors/operator/operator.ts'
import { milliseconds, orDash, shortPeer, state, yesNo } from '../humane.ts'
import { type Cell, record, table } from '../table.ts'

export function clusterText(cluster: ClusterJson, colours: boolean): string {
  const { propagation_ms: propagation, rejected_changes: rejected } = cluster
  const reachable = cluster.members.filter((member) => member.reachable).length
  const head = record(
    [
      ['cluster', `${cluster.name} (${cluster.id})`],
      ...(cluster.notice == null ? [] : ([['notice', { text: cluster.notice, colour: 'red' }]] as const)),
      ['members', `${cluster.members.length}, ${reachable} reachable`],
      ['agreed', state(yesNo(cluster.agreed))],
      ...(cluster.policy.max_services == null
        ? []
        : ([['policy', `${cluster.policy.max_services} services at most`]] as const)),
      ...historyRows(cluster),
      ['heads', cluster.heads.map(shortHash).join(' ') || '-'],
      [
        'propagation',
        propagation.samples === 0
          ? 'not seen yet'
          : `p50 ${milliseconds(propagation.p50)}, p99 ${milliseconds(propagation.p99)} (${propagation.samples} changes)`
      ]
    ],
    colours
  )
  const members = table(
    ['NAME', 'ID', 'ROLE', 'REACHABLE', 'HEADS'],
    cluster.members.map((member): Cell[] => [
      `${orDash(member.name)}${member.id === cluster.self ? ' *' : ''}`,
      shortPeer(member.id),
      member.role,
      state(yesNo(member.reachable)),
      member.heads == null ? '-' : member.heads.map(shortHash).join(' ') || '-'
    ]),
    colours
  )
  const departed = departedText(cluster, colours)
  const copied = cluster.copied_identities.map(({ message }) => `\nwarning: ${message}\n`).join('')
  if (rejected.length === 0) return `${head}\n${members}${departed}${copied}`
  const refused = table(
    ['REJECTED', 'AUTHOR', 'REASON'],
    rejected.map(({ hash, author, reason }) => [shortHash(hash), shortPeer(author), reason]),
    colours
  )
  return `${head}\n${members}${departed}\n${refused}${copied}`
}

function historyRows({ history }: ClusterJson): Array<[string, Cell]> {
  const { state, verified, entries, signed_by, signed_by_name, contradiction } = history
  const rows: Array<[string, Cell]> = []
  if (state === 'verifying') {
    const who = signed_by_name ?? (signed_by == null ? 'nobody any more' : shortPeer(signed_by))
    const text = `${verified} of ${entries} entries verified behind the snapshot signed by ${who}`
    rows.push(['history', { text, colour: 'yellow' }])
  }
  if (contradiction != null) {
    const who = contradiction.signed_by_name ?? contradiction.signed_by ?? 'an admin'
    rows.push(['snapshot', { text: `signed by ${who}, thrown away: ${contradiction.message}`, colour: 'red' }])
  }
  return rows
}

function departedText({ departed }: ClusterJson, colours: boolean): string {
  if (departed.length === 0) return ''
  const rows = departed
    .slice(0, DEPARTED_SHOWN)
    .map(({ id, name, how, by, by_name, at }): Cell[] => [
      name,
      shortPeer(id),
      how === 'proven' ? { text: 'revoked: signed two things as one', colour: 'red' } : how,
      how === 'left' ? '-' : (by_name ?? shortPeer(by)),
      at
    ])
  const more = departed.length - rows.length
  const rest = more > 0 ? `and ${more} more\n` : ''
  return `\n${table(['DEPARTED', 'ID', 'HOW', 'BY', 'AT'], rows, colours)}${rest}`
}

const DEPARTED_SHOWN = 10

export function leaveText({ name, told, log_kept_as }: LeaveJson): string {
  const who = told.length === 0 ? '' : `; told ${told.map((peer) => peer.name).join(', ')}`
  return `left cluster ${name}${who}; its log is kept as ${log_kept_as}\n`
}

export function syncText(sync: SyncJson, colours: boolean): string {
  const peers =
    sync.peers.length === 0
      ? 'no other peers\n'
      : table(
          ['PEER', 'RECEIVED', 'SENT', 'RESULT'],
          sync.peers.map((peer): Cell[] => [
            peer.name ?? shortPeer(peer.id),
            String(peer.received),
            String(peer.sent),
            peer.error == null ? { text: 'ok', colour: 'green' } : { text: peer.error, colour: 'red' }
          ]),
          colours
        )
  const changes =
    sync.changes.length === 0
      ? 'nothing had to be re-applied\n'
      : table(
          ['RE-APPLIED'],
          sync.changes.map((change) => [change]),
          colours
        )
  return `${peers}\n${changes}`
}

const shortHash = (hash: string): string => hash.slice(0, 8)
