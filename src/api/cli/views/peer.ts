import type { PastPeerJson, PeerJson } from '../../../actors/operator/operator.ts'
import { age, bytes, milliseconds, orDash, shortPeer, state, yesNo } from '../humane.ts'
import { type Cell, record, table, type TableOptions } from '../table.ts'

export function peersText(
  peers: ReadonlyArray<PeerJson | PastPeerJson>,
  now: number,
  { wide, colours }: TableOptions
): string {
  return table(
    [
      'NAME',
      'ID',
      'STATE',
      'ROLE',
      'REACHABLE',
      'RTT',
      'SEEN',
      'VERSION',
      ...(wide ? ['KEYS', 'TUNNELS', 'ADDRESSES'] : ['ADDRESS'])
    ],
    peers.map((peer): Cell[] => [
      orDash(peer.name),
      wide ? peer.id : shortPeer(peer.id),
      state(peer.state),
      orDash(peer.role),
      peer.reachable == null ? '-' : state(yesNo(peer.reachable)),
      milliseconds(peer.rtt_ms),
      seen(peer, now),
      orDash(peer.version),
      ...(wide ? [keysOf(peer, now), tunnelsOf(peer), orDash(peer.addresses.join(' '))] : [addressOf(peer)])
    ]),
    colours
  )
}

/** How old they are, and while they are changed, at how many of the ends that they matter to they are in force. */
const keysOf = ({ keys }: PeerJson | PastPeerJson, now: number): Cell => {
  if (keys == null) return '-'
  const old = keys.made_at == null ? '?' : age(keys.made_at, now)
  if (!keys.changing && keys.awaited.length === 0) return old
  const ends = `${keys.in_force.length}/${keys.in_force.length + keys.awaited.length}`
  return { text: `${old} (${ends})`, colour: keys.awaited.length === 0 ? 'green' : 'yellow' }
}

const addressOf = ({ addresses }: Pick<PeerJson, 'addresses'>): string =>
  `${orDash(addresses[0])}${addresses.length > 1 ? ` +${addresses.length - 1}` : ''}`

const tunnelsOf = ({ tunnels }: Pick<PeerJson, 'tunnels'>): string =>
  orDash(tunnels.map(({ device }) => device).join(' '))

export function peerText(peer: PeerJson, now: number, colours: boolean): string {
  const head = record(
    [
      ['id', peer.id],
      ['name', orDash(peer.name)],
      ['state', state(peer.state)],
      ['role', orDash(peer.role)],
      ['reachable', state(yesNo(peer.reachable))],
      ['rtt', milliseconds(peer.rtt_ms)],
      ['last seen', seen(peer, now)],
      ['version', orDash(peer.version)],
      ['addresses', orDash(peer.addresses.join(' '))],
      ...keyRows(peer, now),
      ...departureRows(peer)
    ],
    colours
  )
  if (peer.tunnels.length === 0) return head
  const tunnels = table(
    ['TUNNEL', 'ENDPOINT', 'HANDSHAKE', 'IN', 'OUT'],
    peer.tunnels.map((tunnel) => [
      tunnel.device,
      orDash(tunnel.endpoint),
      tunnel.handshake_at == null ? 'never' : `${age(tunnel.handshake_at, now)} ago`,
      bytes(tunnel.bytes_in),
      bytes(tunnel.bytes_out)
    ]),
    colours
  )
  return `${head}\n${tunnels}`
}

function keyRows({ keys }: PeerJson, now: number): Array<readonly [string, Cell]> {
  if (keys == null) return []
  const { pegasus, tempest, made_at, changing, in_force, awaited } = keys
  const made = made_at == null ? 'at a time that it does not tell' : `${age(made_at, now)} ago`
  const names = (peers: typeof awaited): string => peers.map(({ name }) => name).join(' ')
  return [
    ['keys', `made ${made}${changing ? '; those before are still good' : ''}`],
    ['pegasus key', pegasus],
    ['tempest key', tempest],
    ...(in_force.length === 0 ? [] : [['keys in force', names(in_force)] as const]),
    ...(awaited.length === 0 ? [] : [['not yet at', { text: names(awaited), colour: 'yellow' as const }] as const])
  ]
}

function departureRows({ departure }: PeerJson): Array<readonly [string, Cell]> {
  if (departure == null) return []
  const { how, at, by, by_name, confirmed_by, awaited } = departure
  const author = by_name ?? shortPeer(by)
  const what = {
    left: `at ${at}`,
    revoked: `by ${author} at ${at}`,
    proven: `at ${at}, since it signed two things as one; ${author} has the proof`
  }[how]
  const names = (peers: typeof awaited): string => orDash(peers.map(({ name }) => name).join(' '))
  return [
    [how === 'left' ? 'left' : 'revoked', what],
    ['known to', names(confirmed_by)],
    ['not yet to', awaited.length === 0 ? '-' : { text: names(awaited), colour: 'yellow' }]
  ]
}

const seen = (peer: Pick<PeerJson, 'last_seen_at'>, now: number): string =>
  peer.last_seen_at == null ? '-' : `${age(peer.last_seen_at, now)} ago`
