/** Limits of the HTTP API. The body cap stands in src/limits.ts; what fields may hold, in src/crdt/limits.ts. */

/** `sun_path` of a unix socket address holds 108 bytes with its final NUL (unix(7)). */
export const socketPathBytesMax = 107

/** Request line and headers together, bytes: a bearer token and cookies of a proxy fit, a flood does not. */
export const headerBytesMax = 16 * 1024

/** A client has this long to send its headers, and this long for the whole request, so that slow senders hold nothing. */
export const headersTimeoutMs = 10_000
export const requestTimeoutMs = 30_000

/** Idle keep-alive connections are closed after this; above the 15 s at which Prometheus scrapes by default. */
export const keepAliveTimeoutMs = 20_000

/** Of a body that is refused for its size, this much is still read so that the client can read the refusal. */
export const discardedBytesMax = 64 * 1024 * 1024

/** Open connections per listener; more are refused by closing them. RLIMIT_NOFILE of small hosts is 1,024. */
export const connectionsMax = 512

/**
 * Requests of one address on TCP, whoever it says it is: a burst of a script and the steady rate of a dashboard pass,
 * guessing tokens does not get anywhere.
 */
export const requestsPerSecondMax = 50
export const requestBurstMax = 200

/** Addresses counted apart, 100 bytes each; more than these at once share one count. */
export const limitedAddressesMax = 4_096

/** Open connections of one address on TCP: a quarter of all, so that no single one takes the rest's. */
export const connectionsPerAddressMax = 128

/** Read of a body whose sender is not let in, bytes, so that he can read the refusal. */
export const refusedBodyBytesMax = 64 * 1024

/** Longest path parameter, characters: a peer name has 63, an actor path less than this. */
export const pathParameterCharsMax = 512

/** Rows of a list turned into JSON at a time: about 1 ms of work. */
export const listPieceMax = 250

/** Rows of one page of a list: some 7 MB of services. Without paging a list has no limit. */
export const pageRowsMax = 10_000

/**
 * Answers kept for `Idempotency-Key`: more than a client has requests in doubt at once, and more than there can be
 * connections with a request at work (`connectionsMax` at each of two doors).
 */
export const idempotencyAnswersMax = 2_048
export const idempotencyBytesMax = 16 * 1024 * 1024

/** A client that has not repeated its request within this has given up. */
export const idempotencyTtlMs = 3_600_000

/** Longest `Idempotency-Key`, characters; a UUID has 36. */
export const idempotencyKeyCharsMax = 255

/** State changes kept for `Last-Event-ID`; an agent that changes 20 things a second is remembered for 50 s. */
export const eventsKeptMax = 1_000

/** Open `GET /v1/events` streams at once. */
export const eventStreamsMax = 128

/** Bytes waiting for one slow event reader; beyond it the stream is cut, and the reader resumes by `Last-Event-ID`. */
export const eventStreamBytesMax = 1024 * 1024

/** A comment line this often keeps proxies from closing a quiet event stream. */
export const eventHeartbeatMs = 15_000

/** How long an agent that may own the socket file gets to accept a connection. */
export const socketProbeMs = 1_000

/** On stop, running requests get this long before their connections are cut. */
export const stopGraceMs = 2_000

/** Certificate files are looked at this often; whoever renews one waits no longer than for anything else here. */
export const certificateCheckMs = 5_000

/** The log warns of a certificate that ends within this: two weeks, as renewals usually begin before. */
export const certificateWarnMs = 14 * 24 * 3600 * 1000

/** A client has this long for its TLS handshake. */
export const tlsHandshakeTimeoutMs = 10_000

/** Actors of which a slow reader of `GET /v1/actors/watch` has a step waiting: one each, the newest. */
export const watchedActorsWaitingMax = 1_024

/** `?wait=true` and `--wait`: an nft load of 100,000 routes fits thrice; the longest wait holds its connection so long. */
export const waitDefaultSeconds = 30
export const waitSecondsMax = 600

/** Open flows in one answer: a screenful or two unless asked for more, and at most what an engine tells (PROTOCOL.md). */
export const flowsDefault = 100
export const flowsMax = 10_000
