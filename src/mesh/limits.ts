/** Bounds of the mesh, with their reasons. LIMITS.md lists them. */

/** Largest message of a channel, bytes: one envelope of any size the replica accepts, and libp2p resets above 4 MiB. */
export const messageBytesMax = 4 * 1024 * 1024
/** A message that has begun is whole within this: a batch of a sync over 5 kB/s. */
export const messageWholeMs = 15_000
/** The first message of a sync, and the question for a report, bytes: who asks with more holds memory of who is asked. */
export const questionBytesMax = 1024
/** Largest gossiped envelope, bytes: libp2p's frames are 64 KiB, and a bigger message blocks every topic behind it. */
export const gossipBytesMax = 64 * 1024
/** Bytes of envelopes in one sync batch: small enough to interleave with other streams, large enough for one fdatasync. */
export const syncBatchBytes = 64 * 1024
/** Unacknowledged bytes a sender may have under way: a window, so that a slow disk there never fills buffers here. */
export const syncWindowBytes = 512 * 1024
/** libp2p's per-stream receive window, bytes: two sync windows, a quarter of its read buffer, which resets when full. */
export const streamWindowBytesMax = 1024 * 1024

/** Connections altogether: 1,000 members, crossed dials while all of them restart, and the strangers. */
export const connectionsMax = 2048
/** Sockets that have not proven an identity yet, altogether and from one address (IPv6: one /64). A handshake is ms. */
export const unprovenMax = 128
export const unprovenPerHostMax = 32
/** Inbound connections per second and address; libp2p's 5 is less than one site of members behind one NAT redials with. */
export const inboundPerHostPerSecondMax = 64
/** A handshake takes three round trips; whoever needs longer than this is slow on purpose. */
export const handshakeTimeoutMs = 5_000
/** Lines in which one protocol is chosen, and bytes that may wait meanwhile: gossip asks for four names, each some 20 long. */
export const negotiationLinesMax = 16
export const negotiationBytesMax = 1024
/** History that a joiner takes from its inviter, bytes: it is held in memory until it has been checked as a whole. */
export const joinHistoryBytesMax = 512 * 1024 * 1024
/** Connected peers that proved an identity which is no member: joiners, and those who only look. */
export const strangersMax = 64
export const strangersPerHostMax = 8
/** How long a stranger may stay without asking to join, and how long its join may take. */
export const strangerIdleMs = 10_000
export const joinTimeoutMs = 60_000
/** Pause before the first sync of who has joined is tried again; as much as a redial waits at first. */
export const settleInRetryMs = 250
/** Of that, how long its snapshot may take before the whole history is asked for instead. */
export const joinSnapshotTimeoutMs = 25_000
/** How long a peer that leaves goes on telling the others before it forgets them: some redials of a lossy path. */
export const departureMs = 3_000
export const departureRetryMs = 100
/** Auth log that a member may hand over to introduce itself, bytes: some 5,000 admissions. */
export const introductionBytesMax = 4 * 1024 * 1024
/** Streams of protocols for members that a stranger may try: one who was admitted elsewhere tries a few before it is known. */
export const strangerTriesMax = 16
/** Streams that one connection may have open: gossip, sync, reports, pings and actor messages need some 20. */
export const streamsPerConnectionMax = 256
/** Streams of one protocol on one connection; libp2p's 32 is less than a burst of report fetches. */
export const streamsPerProtocolMax = 64
/** Opening a stream is one round trip. */
export const openTimeoutMs = 5_000
/** The host is asked for its own addresses this often at most: each evaluation wants them, and they are one look at each device. */
export const addressesKnownMs = 1_000

/** Addresses tried per dial, and the head start of each over the next (RFC 8305 recommends 250 ms). */
export const dialAddressesMax = 16
export const dialStaggerMs = 200
/** One TCP connect and handshake; SYN is resent after 1 s and 3 s, so a lossy path gets three chances. */
export const dialAddressTimeoutMs = 5_000
/** A dial waits for somebody who comes from the peer's own address to have proven who it is, this long at most: a handshake is ms. */
export const dialYieldMs = 500
export const dialYieldLookMs = 20
/** Crossed dials begin within this; beyond it the newer connection of two means that the older one is dead. */
export const crossedDialMs = 2_000
/** How long two connections to one peer are tolerated, so that both ends have seen both before one is closed. */
export const duplicateGraceMs = 1_000
/** How often connections are looked after: duplicates, standing, gossip streams. */
export const upkeepMs = 1_000
/** A graceful close waits for the other side this long, then cuts. */
export const closeTimeoutMs = 500

/** Messages are remembered this long to drop repetitions; anti-entropy has brought everything by then. */
export const gossipSeenMs = 30_000
/** Bytes queued towards one slow peer before gossip to it is dropped; sync repairs that. */
export const gossipBacklogBytesMax = 4 * 1024 * 1024
/** Largest message to those who are connected, bytes: a gossiped envelope with its topic. */
export const nearMessageBytesMax = gossipBytesMax + 1024
/** Of those on one stream that should not have been sent; its author opens another one a second later. */
export const nearRefusedMax = 16
/** Streams of them on one connection: one, and the one before it that has not ended yet. */
export const nearStreamsMax = 4
/** Topics one peer may make us remember, in gossipsub's accounting of about 1 KiB a topic. */
export const gossipTopicBytesPerPeerMax = 64 * 1024
/** Received envelopes that wait for the disk; beyond it gossip is dropped and fetched by sync. */
export const intakeEnvelopesMax = 2048

/** Anti-entropy with a random member: between these, chosen anew each time. */
export const syncEveryMinMs = 1_000
export const syncEveryMaxMs = 5_000
/** Of those that a beat makes needless, each so many-th takes place. */
export const syncLeftOutMax = 10
/** Syncs under way that this peer began, and that it serves; others wait or are told to come back. */
export const syncsOutMax = 4
export const syncsInMax = 8
/** Of those, by one peer: it needs one, and one more while it gives up the first. */
export const syncsInPerPeerMax = 2
/** A peer that says nothing for this long in the middle of a sync is given up. Covers a slow fdatasync of one batch. */
export const syncSilenceMs = 15_000
/** Of what sync brings, changes up to this many are gossiped on: more is somebody who was away, and everybody may know. */
export const forwardEnvelopesMax = 16
/**
 * What a peer is about to hand over is not asked of others, unless it hands over nothing new for this long, or takes longer
 * than the second of these; then it is not counted on for the third.
 */
export const comingLapseMs = 1_000
export const comingMaxMs = 10_000
export const comingAvoidMs = 30_000
/** Who begins a sync here waits this long at most for the one before it to name its vector. */
export const namingTurnMs = 250
/** A sync that fails because of a gap is repeated at most this often per peer. */
export const syncRetryMs = 250
/**
 * What looks like a fork is looked into after this, and half as often each time: so many envelopes of each actor at first,
 * so many times more each time. What waits may have other reasons: who is behind a snapshot does not have all to give.
 */
export const doubtEveryMs = 2_000
export const doubtEveryMaxMs = 60_000
export const doubtDepthMin = 16
export const doubtDepthFactor = 8
/** After this the next one is another one. */
export const doubtForgottenMs = 120_000

/** How long one member hands over the history behind a snapshot before it is another one's turn. */
export const backfillTurnMs = 30_000
/** Who was of no use is asked again after this, and after a wait when there is nobody else. */
export const backfillAvoidMs = 60_000
export const backfillRetryMs = 1_000

/** A beat that names another state starts a sync only when nothing was received here for this long. */
export const settleMs = 300

/** Presence beats. Up to `beatPeersMax` members each beats once a second, beyond it proportionally less often. */
export const beatMs = 1_000
export const beatPeersMax = 100
/** Beats of a peer that may be missed before it counts as unreachable. */
export const beatsMissedMax = 3
/**
 * A material change is announced after the first, together with what else changed meanwhile, and this long after the beat
 * before at the earliest.
 */
export const beatPromptMs = 2
export const beatCoalesceMs = 20
/** Of beats that announce new heads, in the smallest cluster: a burst of writes is worth two a second, not one each. */
export const headsBeatGapMinMs = 500
/** While a member is not connected, each so many-th beat is handed on by others: it may be connected to one of them. */
export const beatHandedOnEvery = 4
/**
 * A member that others reach and this peer does not: for so long it is just connecting, as each new one is with each, and what is
 * said meanwhile the sync on connect brings. Only after it is everything handed on for its sake, by everybody to everybody.
 */
export const apartMs = 1_000
/** Largest beat, bytes, and most heads in it; more are announced as the first ones in order. */
export const beatBytesMax = 8 * 1024
export const beatHeadsMax = 64
/** Peers whose presence is remembered, members aside: strangers seen, and how long after they were last seen. */
export const discoveredMax = 256
export const discoveredTtlMs = 24 * 3_600_000
/** Starts of one peer's agent that are told apart, and how long two of them must beat beside each other to be two agents. */
export const beatLivesMax = 4
export const twinOverlapMs = 5_000
/** A pair of agents under one identity is reported this long after one of them was last heard. */
export const twinTtlMs = 60_000
/** Such pairs named in one beat. */
export const twinsPerBeatMax = 8
/** Round-trip time is measured this often per member, longer in clusters of more than `beatPeersMax`. */
export const pingEveryMs = 10_000
export const pingTimeoutMs = 2_000
/** A stream of pings on which nothing comes is given up after this, and one ping's bytes: it is one byte. */
export const pingIdleMs = 60_000
export const pingBytesMax = 64

/** Pings in a row that may stay unanswered before a connection counts as dead: one may be lost in a stall. */
export const pingsMissedMax = 2

/** Reports in one message of a fetch, and removals remembered for deltas; whoever is further behind gets everything. */
export const reportsPerMessageMax = 256
export const reportRemovalsMax = 1_024
/** Characters of any text in a report: a message with an error's text in it is some hundreds. */
export const reportTextMax = 8_192
/** Messages of one answer: all reports, a page each for what may be in between. */
export const reportPagesMax = 256
/** Counters alone announce themselves at most this often. */
export const reportCountersMs = 1_000
/** A report fetch that takes longer is given up; the next beat asks again. */
export const reportTimeoutMs = 5_000
/** Who tells each change by itself may announce it before it has told it, by so much; then it is asked. */
export const reportToldMs = 250
/** Report fetches under way at once. */
export const reportFetchesMax = 8
/** Services one peer may report on; the same as the most the replica is made for. */
export const reportsPerPeerMax = 20_000

/** One message of the actor protocol, bytes: a long answer comes in parts, and lets others through between them. */
export const actorFrameBytesMax = 64 * 1024
/** One answer, bytes: the tree of 100,000 actors is some 12 MB. */
export const actorAnswerBytesMax = 32 * 1024 * 1024
/** Asks under way to one peer, and of one peer here; beyond it one waits its turn, and is not read before. */
export const actorAsksMax = 64
/** Watches and monitors that one peer may have here: a screen and a few scripts for each of its operators. */
export const actorWatchesPerPeerMax = 64
/** Updates that wait for a peer which is slow to read, one per watch and actor; the oldest give way to newer ones. */
export const actorUpdatesWaitingMax = 1_024
/** An ask is answered out of memory, or after one fdatasync; a peer that takes longer is as good as gone. */
export const actorAskTimeoutMs = 5_000
/** A watch that lost its stream while the connection stands is begun anew after this, for ever. */
export const actorRewatchMs = 500
/** A stream without asks and watches is closed after this. */
export const actorLinkIdleMs = 30_000
/** Characters of an actor's path, of an event's type, and of who asks; levels of an answer; fields of an event. */
export const actorPathTextMax = 256
export const actorWordTextMax = 100
export const actorAskerTextMax = 200
export const actorDepthMax = 64
export const actorEventFieldsMax = 16

/**
 * Changes that come by gossip are taken in at once, and what follows within this comes in together: each intake costs a
 * view, an fdatasync and a look at all that is asked for. In a larger cluster more is written at a time, and each costs more.
 * Where it costs little there is next to no gap: what waits here is what syncs hand over once more.
 */
export const intakeGapMs = (members: number): number => Math.min(100, members / 10)

/**
 * Redial: first wait and longest wait. It never gives up, so the cap bounds the chatter towards a peer that is gone: some 50
 * dials a second, whatever the members.
 */
export const redialMinMs = 100
export const redialMaxMs = 5_000
export const redialCapMs = (members: number): number => Math.min(redialMaxMs, Math.max(1_000, 20 * members))
/** When one peer is back all others that are away are dialled at once, this often at most. */
export const redialHintMs = 1_000
/** Dials under way at once. */
export const redialsMax = 16
/** Of two peers the one with the greater id waits this long for the other one's dial, and up to twice as long. */
export const redialYieldMs = 100
/** A peer that starts dials one member after the other, this far apart, and the last of them after `redialTurnsMs` at most. */
export const redialTurnMs = 150
export const redialTurnsMs = 600

/** Propagation samples kept. */
export const propagationSamplesMax = 1_024
/** Log lines per reason: one at once, then one per this with the number left out. */
export const quietLogMs = 60_000
