import type { Membership } from '../../../src/crdt/membership.ts'

/** The same, but nothing ever follows from it: with one more entry all are judged anew. */
export const judgedAnew = (judged: Membership): Membership => ({
  members: judged.members,
  departed: judged.departed,
  redeemed: judged.redeemed,
  refused: judged.refused,
  fault: (written) => judged.fault(written),
  standing: (peer) => judged.standing(peer),
  peers: () => judged.peers(),
  digestOf: (peer) => judged.digestOf(peer),
  take: () => null
})

/** All that can be asked of a membership but what takes a change to ask about. */
export const essenceOf = (judged: Membership): unknown => ({
  members: sorted(judged.members),
  departed: sorted(judged.departed),
  redeemed: sorted(judged.redeemed).map(([key, { peers, ...rest }]) => [key, { ...rest, peers: peers.toSorted() }]),
  refused: sorted(judged.refused),
  standings: [...judged.peers()].sort().map((peer) => [peer, judged.digestOf(peer), judged.standing(peer)])
})

const sorted = <T>(map: ReadonlyMap<string, T>): Array<[string, T]> => [...map].sort(([a], [b]) => (a < b ? -1 : 1))
