/** Limits of declarative changes (`apply`). */

/** Services of one file: as many as the data plane was measured with, and a plan of them takes well below a second. */
export const meshServicesMax = 10_000

/** Largest body of an apply, bytes: 10,000 services of some 200 bytes with several routes of some 80 each. */
export const meshBodyBytesMax = 8 * 1024 * 1024

/** Services worked on at once; they share flushes to the disk. */
export const stepsAtOnceMax = 16

/** `--confirm-within`: long enough to look, and no longer than a working day's absence. */
export const confirmWithinMaxSeconds = 24 * 3600

/** A revert that failed (the disk is full) is tried again after this. */
export const revertRetryMs = 5_000
