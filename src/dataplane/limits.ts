/** Every bound of the data plane, with its reason. LIMITS.md lists them for operators. */

/** An interface name has room for 15 characters and a final NUL. */
export const interfaceNameLengthMax = 15

/** `sun_path` has 108 bytes with its NUL: a longer path for a control socket cannot be bound. */
export const unixPathBytesMax = 107

/** Room for WireGuard's header (60 bytes over v4, 80 over v6) on a wire of 1,500 bytes. */
export const tunnelMtuBytes = 1420

/**
 * IPv4 address of every tunnel's device, which nobody speaks to: where reverse-path filtering is loose, the kernel still drops
 * whatever comes in by a device without any.
 */
export const tunnelAddress = '169.254.79.46'

/** Keeps NAT bindings between two hosts open; WireGuard's own recommendation. */
export const tunnelKeepaliveSeconds = 25

/** How long `nft` or `ip` may take before they are killed, ms; 10,000 routes take well under one second. */
export const childTimeoutMs = 20_000

/** What a child may print before it is cut off; `nft list table` of 100,000 elements stays below. */
export const childOutputBytesMax = 64 * 1024 * 1024

/** An engine must say hello this soon after its socket is there, ms. */
export const engineHelloTimeoutMs = 3_000

/** An engine that was just spawned must listen this soon, ms. A loaded machine starts a process in well under a second. */
export const engineStartTimeoutMs = 5_000

/** Pause between two tries to reach the socket of an engine that is starting, ms. */
export const engineConnectRetryMs = 10

/** An engine must answer `apply` this soon, ms; 10,000 routes compile in a fraction of it. */
export const engineApplyTimeoutMs = 10_000

/**
 * A file of what an engine was last told is written at once for so many changes, and then this often, ms: the file system writes
 * one that takes another's place down before the next fdatasync of whoever calls it, and that is the log's.
 */
export const configBurst = 8
export const configEveryMs = 250
/** A large file of what an engine was last told is written at most this often, ms: its text takes longer than a change does. */
export const largeConfigEveryMs = 2_000

/** An engine must answer `stats` this soon, ms. */
export const engineStatsTimeoutMs = 2_000

/** First and longest pause before a dead engine is started again, ms. It doubles in between. */
export const engineRestartMinMs = 50
export const engineRestartMaxMs = 5_000

/** After an engine of a build before has died, the one before it may be at work again: how soon that is looked for, ms. */
export const orphanLookMs = 500

/** A control connection that stood this long and is closed is made anew at once, ms. */
export const engineDroppedAfterMs = 1_000

/** An engine that lived this long starts over with the shortest pause, ms. */
export const engineStableAfterMs = 10_000

/** Longest line either side of a control socket accepts, bytes (PROTOCOL.md). */
export const engineLineBytesMax = 64 * 1024 * 1024

/** An engine's log file is emptied beyond this, bytes: it is a hand-over to the agent's log, not an archive. */
export const engineLogBytesMax = 4 * 1024 * 1024

/** How often the agent looks for new lines in an engine's log, ms. */
export const engineLogPollMs = 250

/** Longest engine log line that is passed on, bytes; a longer one is cut. */
export const engineLogLineBytesMax = 16 * 1024

/** After the engine's own drain deadline it gets this long to exit before SIGKILL, ms. */
export const engineExitGraceMs = 1_000

/** How often it is looked whether an engine that was asked to end has ended, ms: a successor waits for it. */
export const engineExitPollMs = 5

/** A burst of kernel events is answered by one look at the kernel, this long after the first, ms. */
export const repairSettleMs = 30

/**
 * Shortest time between two looks at the kernel, ms: a host full of containers announces changes all day. It doubles up to
 * the longest while looks fail: the first failure is often only a change under way, later ones would fill the log.
 */
export const repairIntervalMinMs = 250
export const repairIntervalMaxMs = 5_000

/** A look at the kernel even when nothing was announced, ms: a lost netlink event must not hide damage for ever. */
export const repairSweepMs = 30_000

/** Longest line given to an nft that is running, bytes: beyond it a process of its own is the lesser cost. */
export const nftLineBytesMax = 64 * 1024

/** A monitor has begun to listen this long after it was started, ms: a process starts in a tenth of it on a busy host. */
export const monitorStartMs = 1_000

/** Pause before a monitor that ended is started again, ms. */
export const monitorRestartMs = 200

/** Client-side pause before a failed repair or apply of the same state is tried again, ms. */
export const reapplyRetryMs = 1_000

/** Candidates that `routes test --trace` lists at most: the winner and the nearest losers. */
export const traceCandidatesMax = 1_000

/** Lines each way that a preview of a ruleset tells; a reader counts the rest. */
export const previewLinesMax = 1_000

/** How long the holder of the host's lock may take to say who it is, ms. */
export const hostLockAnswerMs = 1_000

/** `doctor` waits so long for a peer's data port, ms: a wide-area round trip and two lost SYNs fit. */
export const reachTimeoutMs = 3_000

/** Texts of members' endpoints whose meaning is kept: some of each of 1,000 members, a hundred bytes each. */
export const endpointTextsMax = 8_192

/** So long Pegasus has had no way to a peer before its services say so, ms: its engine may be starting again. */
export const cutOffAfterMs = 3_000

/** Pairs of addresses that a host tells of what its kernel tracks: 10,000 take half a megabyte. */
export const trackedFlowsMax = 10_000
