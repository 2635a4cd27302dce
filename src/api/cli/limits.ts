/** Limits of the command line client. */

/** An answer that takes longer is an agent that hangs. */
export const requestTimeoutMs = 60_000

/** Joining, syncing and `--wait` wait for other hosts; the agent itself gives up before. */
export const longRequestTimeoutMs = 660_000

/** Rows asked for at a time: 3 MB of services; each page costs the agent a round of questions to its peers. */
export const pageRowsMax = 5_000

/** A shell that completes waits no longer for an agent, and shows no more. */
export const completionTimeoutMs = 1_000
export const completionsMax = 500

/** Largest answer read, bytes: 100,000 services are about 70 MB of JSON. */
export const answerBytesMax = 256 * 1024 * 1024

/** `--watch` gathers the changes of this span into one print, so that a burst does not print a list per change. */
export const watchGatherMs = 100

/** Read from stdin at most, bytes: as much as the API takes of a mesh file (`apply -f -`). */
export const inputBytesMax = 8 * 1024 * 1024

/** `top` looks this often: the agent itself reads its counters once a second. */
export const topEverySecondsDefault = 1
