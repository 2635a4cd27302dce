/** Limits of the actor system: every queue, retry and timeout of this folder, with the reason for its bound. */

/** Changes that arrive within this time of an evaluation share the next one: an apply run of a human command is one burst. */
export const evaluateEveryMs = 5

/** States of the auth log in which a member's confirmation of an exclusion is understood: it is behind by few, or syncs. */
export const authHeadsKeptMax = 64

/** Changes that `cluster history` shows unless told otherwise: some screens. And the most: each is verified anew, 0.1 ms. */
export const historyLimitDefault = 100
export const historyLimitMax = 10_000

/** Routes are told after this that their service awaits something: most changes are in force by then, and no news to them. */
export const routesFollowMs = 500

/** How long an endpoint may take to report a new wish before the service counts as degraded: an nft load of 100,000 routes fits. */
export const programTimeoutMs = 10_000

/** After the start (or an admission) a peer that was never reached yet is "connecting" for this long, not "unreachable". */
export const connectGraceMs = 5_000

/** A failed or partly failed apply is tried again after this, doubled each time: the operator may have mended the cause. */
export const applyRetryMinMs = 1_000
export const applyRetryMaxMs = 30_000

/** An apply that takes longer is worth a warning: programming is meant to take tens of milliseconds. */
export const applySlowMs = 10_000

/** How long stopping waits for the apply in flight, so that nothing programs the kernel after its clean-up. */
export const stopWaitMs = 5_000

/** Counters are read at most this often; nobody looks at figures faster. */
export const countersEveryMs = 1_000
/** Reading counters may take this share of the time at most; with many services the period stretches. */
export const countersTimeShare = 0.05
/** Figures younger than this are good enough for an answer. */
export const countersFreshMs = 250
/** Tunnels change with handshakes, which take minutes; twice per keepalive is plenty. */
export const tunnelsEveryMs = 5_000
/** A WireGuard session is dead after REJECT_AFTER_TIME (180 s); one missed keepalive more and the tunnel counts as down. */
export const tunnelExpiresMs = 205_000

/** An answer about a service waits this long for the newest report of its endpoints, then uses the last one. */
export const refreshReportMs = 500
/** A peer that shares no service with this one counts as heard for this long after it was asked. */
export const askedFreshMs = 2_000
/** A status over all services asks at most this many endpoints at once. */
export const refreshParallelMax = 16

/** Who waits for a change to be in force looks this often: at once in the beginning, when most are done, then seldom. */
export const waitLookMinMs = 20
export const waitLookMaxMs = 250
/** Of those that a wait is still for, so many are named; the rest is counted. */
export const waitStragglersMax = 50

/** Ready without having synced, when nobody could be reached for this long: the state on disk is all there is. */
export const syncGraceMs = 10_000

/** Restarts of one actor: 5 in a minute are bad luck, more are a bug that a restart does not mend. */
export const restartsMax = 5
export const restartWindowMs = 60_000
export const restartMinMs = 100
export const restartMaxMs = 30_000

/** Listeners on the event feed: `--watch` and `GET /v1/events` clients together. */
export const eventListenersMax = 1_000

/** The event loop is looked at this often; a stall longer than `stallWarnMs` makes one warning. */
export const stallTickMs = 250
export const stallWarnMs = 500

/** Services that get metrics of their own; the rest is summed up as one more, so that a scrape stays bounded. */
export const metricServicesMax = 1_000
/** Services with latency histograms of their own: 30 series each. */
export const latencyServicesMax = 200

/** A token lives a quarter of a year unless asked otherwise: who forgot one is not open for ever. */
export const tokenTtlDefaultMs = 90 * 24 * 3_600_000

/** Invites: long enough for a rack to be installed, short enough to be forgotten safely. */
export const inviteTtlDefaultMs = 3_600_000
export const inviteTtlMaxMs = 30 * 24 * 3_600_000
export const inviteUsesMax = 1_000

/** What this process is, its addresses above all, is looked at this often: a host that moves is found again by then. */
export const ownRecordEveryMs = 5_000

/** Founding a cluster answers with this peer's own record, which is written next: a few ms on any disk that works. */
export const ownRecordWaitMs = 1_000

/** Steps that the flight recorder keeps of one actor: a crash with its five restarts and what led there. */
export const historyPerActorMax = 16
/** Steps kept altogether: some 140 bytes each, so 9 MB; the actors that were quiet for longest are forgotten first. */
export const historyTotalMax = 65_536
/**
 * Of those, of actors that have ended, each of which has three or four: the last two thousand. What services leave behind that
 * come and go all day is then as much after minutes as after weeks.
 */
export const historyEndedMax = 8_192

/** Of an actor's context, what is shown: characters of a text, items of a list, levels. More is said, not shown. */
export const contextTextMax = 300
export const contextItemsMax = 20
export const contextDepthMax = 4

/** Live watches of actors on one agent, local and remote: each costs a comparison per step. */
export const actorWatchesMax = 256

/** What one look at an agent's activity holds: a screen shows some 50 lines, a script that wants more has the lists. */
export const activityServicesMax = 1_000
export const activityActorsMax = 200
export const activityFlowServicesMax = 8
export const activityFlowsMax = 25
export const flowsRememberedMax = 100

/** Steps of the flight recorder in a report: the newest, some 4 MB of JSON. */
export const diagnosticStepsMax = 20_000

/** Members that `doctor` tries to reach, all at once; of a bigger cluster the rest is named as not looked at. */
export const doctorPeersMax = 128

/** Clocks that differ by this are worth a word, and by that make short-lived invites and tokens useless. */
export const clockSkewMs = 2_000
export const clockSkewBadMs = 60_000

/** WireGuard makes a new handshake every two minutes and rejects a session after three. */
export const handshakeAgeMs = 180_000

/** The longest time until the age of data-plane keys is looked at, ms: no timer counts further than some weeks. */
export const keysLookMaxMs = 3_600_000

/** How often the age of data-plane keys is written down, ms; a crash loses less, and what it loses the wall clock knows. */
export const keysNotedEveryMs = 6 * 3_600_000

/** Pause before keys that the disk or the host refused are tried again, ms. */
export const keysRetryMs = 2_000

/** How long a peer may take to tell of the new keys that it was asked for, ms. */
export const keysToldMs = 10_000
