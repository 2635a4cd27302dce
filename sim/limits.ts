/** Figures of the simulated world, with their reasons. */

/** Where virtual time begins: far enough in the past that nobody mistakes a simulated date for a real one. */
export const epochMs = Date.UTC(2030, 0, 1)
/** Events in one instant of virtual time; more is a loop that waits for nothing. */
export const eventsPerInstantMax = 2_000_000
/** A run that is longer waits for something that never comes. */
export const virtualMsMax = 30 * 60_000
/** Turns of the microtask queue per turn of Node's event loop: the loop costs more than most events. */
export const eventsPerTurn = 64

/** Way between two hosts, ms: this much at least, and up to `spreadMs` more by where they stand. */
export const latencyMinMs = 2
export const spreadMs = 30
/** TCP's first retransmission, ms, and how often it doubles before it stays. */
export const retransmitMs = 200
export const retransmitDoublings = 5
/** SYN is sent at 0, 1 and 3 s; then the dial gives up. */
export const synAtMs = [0, 1_000, 3_000] as const
export const dialTimeoutMs = 5_000

/** Gossip neighbours: what gossipsub aims at, and where it begins to prune. */
export const gossipDegree = 6
export const gossipDegreeMax = 12
export const gossipHeartbeatMs = 1_000

/** A write goes to the page cache, a sync to the device; ms. */
export const diskWriteMs = 0.05
export const diskSyncMinMs = 0.5
export const diskSyncMaxMs = 4
/** One apply of the kernel state, ms. */
export const applyMinMs = 4
export const applyMaxMs = 40
/** An engine that crashed is back after this, ms. */
export const engineBackMinMs = 200
export const engineBackMaxMs = 1_000

/** Longest time, ms, in which all must agree once nothing fails any more: redial waits 5 s, sync another 5, twice. */
export const settleMaxMs = 60_000
/** How often it is asked whether all agree, ms. */
export const settlePollMs = 50
/** Agreement must stand for this long, ms, to count: reports and retries have come to rest as well. */
export const settleHoldMs = 2_000

/** Peers of a run. */
export const peersMax = 1_000
/** Beyond so many the agents are light unless it is said: what whole ones say to each other is the square of this. */
export const wholePeersMax = 100
/** Members that a light agent keeps a connection to, and how often it looks after them, ms. */
export const lightDegree = 8
export const lightUpkeepMs = 1_000
/** A light agent brings its host to the newest view this long after it changed, ms: each apply costs all members. */
export const lightApplyMs = 3_000
/**
 * Entries after which a light agent takes a snapshot, more than any run has: for it each makes the document that it does without
 * otherwise, and all make it at the same time, a fifth of a second and 4 MB each among a thousand.
 */
export const lightSnapshotEntries = 16_384
/** Peers of a run over libp2p, whose connections cost a handshake in plain JavaScript each. */
export const libp2pPeersMax = 100
/** Events kept for the timeline of a run. */
export const timelineMax = 2_000
/** Violations listed in one answer; the first one matters. */
export const violationsMax = 50
/** Envelopes that an attacker has to play with. */
export const recordedMax = 256
/** An attacker tries something this often, mean ms; a flood is so many messages at once. */
export const attackEveryMs = 50
export const floodMessages = 64
/** An agent of a newer version writes what others do not know this often, ms. */
export const noveltyEveryMs = 1_500

/** An operator whose revocation was not answered asks again, by any admin. */
export const revokeAgainMs = 500
export const revokeTriesMax = 120

/** Signatures whose check is not repeated, twice as many at most: each message goes to all peers within seconds. */
export const signaturesKept = 65_536

/** Secrets and keys that one end of a handshake has and the other has not, and messages on their way: what is beyond it is computed. */
export const secretsKept = 4_096
export const derivedKept = 4_096
export const sealedKept = 16_384
/** Keys of peers that are read once: a handshake's signature is checked with one that is made for it. */
export const keysKept = 4_096

/** Envelopes that are read once for all hosts, twice as many at most: a thousand joins are two thousand of some 600 bytes. */
export const readingsKept = 8_192

/** Members of a rehearsal: one that is waited for at a terminal takes a minute at most. */
export const rehearsedPeersMax = 100
/** Flows that are listened for; more say nothing new about a change. */
export const flowsListenedMax = 10_000
/** How long, s, flows are listened for: a working day; who wants more has a log. */
export const listenSecondsMax = 86_400
