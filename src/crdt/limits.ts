/** Bounds of the replicated state, with their reasons. */

/** Verification keys kept ready, of 1 kB each: more than any cluster has members, few enough to forget strangers. */
export const verifyKeysMax = 4096

/** Largest envelope, bytes. `addRoutes` with `routesPerRequestMax` routes makes some 400 kB; nothing else comes near. */
export const envelopeBytesMax = 1024 * 1024
/** Largest envelope of the auth log: a proof holds two envelopes of any kind but its own, and a cut. */
export const authEnvelopeBytesMax: number = 2 * envelopeBytesMax + 1024 * 1024
/** Changes that a change may name as its predecessors: one per member that wrote at the same time. */
export const changeDepsMax = 4096
/** Operations in one change: of 1,000 records, the most that one writes, and a run of them takes no bytes to speak of. */
export const changeOperationsMax = 100_000
/** Envelopes held in memory because something before them is missing; anti-entropy brings what had to be dropped. */
export const pendingEnvelopesMax = 4096
export const pendingBytesMax = 16 * 1024 * 1024
/** Envelopes verified in one go (0.15 ms each) before other work gets its turn. */
export const verifyBatchMax = 64
export const verifyBatchBytesMax = 4 * 1024 * 1024
/** Signatures that are worth the way to other threads and back; one is verified sooner than handed over. */
export const verifyAsideMin = 8
/** Contradictions kept until their proofs are written; one is enough for an author. */
export const equivocationsMax = 64
/** Envelopes known to be signed well, between the check of gossip and its delivery; 150 bytes each. */
export const verifiedEnvelopesMax = 1024
/** Hex digits of a change's hash that name it: of a million changes, 1 in 4,300 shares its first 8 with another one. */
export const changePrefixMin = 8
/** Entries of the history read or verified in one go (some 0.3 ms each) before other work gets its turn. */
export const historyBatchMax = 32
/** Changes of the log that a start reads before they are folded, some 1.5 kB each until then. */
export const restoreBatchMax = 1024
/** Changes given to Automerge in one call: 0.08 ms each, with 256 at a time 0.12; longer calls only block. */
export const applyBatchMax = 1024
/** Changes that Automerge is given only when it is asked something: in half a second, then. Each snapshot asks it. */
export const deferredChangesMax = 4096

/**
 * Entries of the history in one page, 88 bytes each: few enough for a small cluster, many for a large one. Memory holds so many pages of
 * them, 8,192 entries in 0.7 MB, more than come between two epochs; the rest is in a file.
 */
export const entriesPerPage = 256
export const entryPagesMax = 32
/** The same of what entries name, 4 bytes each and some three of an entry. */
export const linksPerPage = 1024
export const linkPagesMax = 32

/** What was written on top of a snapshot that was wrong is written again once nothing has come in for this, or so often something has. */
export const mendingQuietMs = 500
export const mendingRoundsMax = 20
/** Records that one change writes again: some 300 bytes each, see `envelopeBytesMax`. */
export const reissueRecordsMax = 1000
/** Records that one undo writes, for the same reason. */
export const undoRecordsMax = 1_000
/** Routes in one `addRoutes`: one signed change, see `envelopeBytesMax`. */
export const routesPerRequestMax = 1000
/** Addresses in a peer record or an invite, and the length of one, characters. */
export const addressesMax = 16
export const addressLengthMax = 256
export const versionLengthMax = 64
/** Route priority: as wide as a VLAN tag is long for everybody who thinks in 16 bits; the higher one wins. */
export const priorityMax = 65_535
/** 1 Tbit/s in Mbit/s: above what a host can carry, low enough that rates in byte/s stay exact in a double. */
export const bandwidthLimitMbpsMax = 1_000_000

/** An invite lives between a second and 90 days; somebody who needs longer makes another one. */
export const inviteTtlMinMs = 1000
export const inviteTtlMaxMs = 90 * 24 * 3600 * 1000
export const inviteUsesMax = 1000
/** Longest accepted token, characters: 16 addresses of 256 bytes in base64. */
export const inviteTokenLengthMax = 8192

/** A token lives ten years at most: one that never ends is one that nobody remembers. */
export const tokenTtlMaxMs = 3650 * 24 * 3600 * 1000
/** Scopes in one token: all that there are, and room for those of newer versions. */
export const tokenScopesMax = 64
/** Characters of who asked that are kept with a change: `token`, an id, and a name of 63. */
export const viaLengthMax = 128
/** Highest `max_services` of a policy: above what any cluster holds. */
export const servicesPolicyMax = 1_000_000

/** Rejected changes shown in a view; the newest ones. */
export const rejectedShownMax = 1000
/** Attempts at an id whose device name is free: each one fails with probability n / 2^25 at most. */
export const idAttemptsMax = 64

/** What is grouped into one frame of the log, that is one fdatasync, bytes. */
export const frameBytesMax = 16 * 1024 * 1024
/** Largest frame that a log may hold: a batch that was received, with all of `pendingBytesMax` that waited for it. */
export const frameReadBytesMax = 64 * 1024 * 1024
/**
 * Entries behind the last snapshot that make the next one: reading them takes a start half a second. In a large state it is this
 * share of all entries, since a snapshot costs in proportion to the whole. All members reach it with the same change: taken
 * after 250, snapshots of five agents on one machine kept the change in hand waiting for 0.6 s.
 */
export const snapshotEveryEntries = 2000
export const snapshotEveryShare = 1 / 8
/**
 * Changes that the document in a snapshot may lack, or as many as make the next snapshot if that is more. To make it anew takes a
 * thread half a second of CPU, most of it for loading Automerge; and a start that asks Automerge gives it these in as long.
 */
export const documentOwedMax = 2000
/**
 * Entries since the last epoch that make the next one, and whose history a joiner verifies in three seconds rather than
 * taking over a snapshot. In a large state it is this share of all entries: an epoch costs in proportion to the whole.
 */
export const epochEveryEntries = 5000
export const epochEveryShare = 1 / 4
/** Entries behind an epoch that still go with it to a joiner: it verifies them before it serves, in a third of a second. */
export const epochTailMax = 500
/** How long the next admin waits for the one whose turn it is to sign: a restart, and a partition's worth of redials. */
export const epochTurnMs = 15_000
/** Largest snapshot that is signed or taken over, bytes: 300,000 services with their routes. */
export const snapshotBytesMax = 512 * 1024 * 1024
/** A list in a snapshot is made in pieces of so many bytes: twice of what the allocator keeps for itself when it is freed. */
export const jsonPieceBytes = 256 * 1024
/** And read so many bytes at a time: some hundred rows, a two-hundredth of the nursery once they are read. */
export const jsonChunkBytes = 16 * 1024
/** Written to see whether a disk that failed takes data again: as much as some ordinary changes need. */
export const probeBytes = 64 * 1024

/** Of an event that was sent by hand the history keeps so many fields, each text cut at so many characters. */
export const noteFieldsMax = 17
export const noteTextMax = 400
