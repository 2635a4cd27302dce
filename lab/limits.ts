/** Bounds of the lab. They are generous: they end what hangs, they are not measurements. */

/** One command of `host.exec`, ms. Long transfers pass their own. */
export const commandTimeoutMs = 30_000

/** Output kept of one command, bytes. A command that says more is killed. */
export const commandOutputBytesMax = 64 * 1024 * 1024

/** How often a log file, a process or a condition is looked at, ms. */
export const pollMs = 10

/** How long a spawned program may take until it says that it listens, ms. Two cores may be busy with a build. */
export const readyTimeoutMs = 20_000

/** Rounds in which processes of a host are killed; a forking one may need a second look. */
export const killRoundsMax = 20

/** Kernel buffer of a capture, KiB: a 64 MiB transfer in bursts must not lose packets on two busy cores. */
export const captureBufferKiB = 65_536

/** How long a capture goes on after the story's last packet, so that the last ones are in it, ms. */
export const settleMs = 200

/** A host is at rest when nothing of its settings has changed for so long, ms: agents that have just met still write. */
export const restMs = 700

/** What waits at a host's end of a wire while a busy machine lets the wire wait: what does not fit is lost without a dice. */
export const wireQueueFrames = 10_000
