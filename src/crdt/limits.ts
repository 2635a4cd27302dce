/** Bounds of the replicated state, with their reasons. */

/** Verification keys kept ready, of 1 kB each: more than any cluster has members, few enough to forget strangers. */
export const verifyKeysMax = 4096
