/** Limits that more than one folder needs. A folder's own limits stand in its own `limits.ts`; LIMITS.md lists them all. */

/** libp2p TCP port, and the base of the data ports: Pegasus TCP and Tempest UDP share `dataPort`. */
export const meshPort = 7946
export const dataPort = 7947

/** Longest accepted human name (peer, service, cluster, token). */
export const nameLengthMax = 63

/** Largest accepted HTTP request body, bytes. */
export const apiBodyBytesMax = 1024 * 1024

/** Largest licence file, bytes: a real one has some 500. */
export const licenseBytesMax = 64 * 1024

/** How long open flows may go on after SIGTERM, ms. Config key `drain_timeout`. */
export const drainTimeoutMs = 10_000

/** The log's last lines in memory, for a report: an hour of a busy agent, bytes bounded for lines that are long. */
export const logTailLinesMax = 2_000
export const logTailBytesMax = 2 * 1024 * 1024

/** Data-plane keys are changed at this age unless `--key-max-age` says otherwise, ms: what was stolen is of no use for ever. */
export const keyMaxAgeMs = 30 * 86_400_000

/** The keys before stay good for this long unless `--key-overlap` says otherwise, ms: an agent that is down over night is told. */
export const keyOverlapMs = 24 * 3_600_000
