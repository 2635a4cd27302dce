//! Bounds of the TCP data plane, each with its reason.

use std::time::Duration;

/// Longest payload of one frame, bytes. Longer frames make a slow wire wait, shorter ones cost more per byte.
pub const FRAME_PAYLOAD_BYTES_MAX: usize = 64 << 10;
/// Most that one read takes, bytes: four full frames. One bulk flow, CPU seconds per GB of both engines: 0.53 with 64 KiB,
/// 0.50 with 128 KiB, 0.48 with 256 KiB.
pub const READ_BYTES: usize = 4 * FRAME_PAYLOAD_BYTES_MAX;
/// What a flow takes per read while its other side does not keep up, bytes: bounds what waits in memory.
pub const READ_BYTES_STALLED: usize = FRAME_PAYLOAD_BYTES_MAX;
/// What one flow moves before the others have their turn, bytes.
pub const TURN_BYTES: usize = 1 << 20;
/// Connections taken from one listener before the flows have their turn.
pub const ACCEPTS_PER_TURN: usize = 64;
/// Connections the kernel keeps for us while we are busy.
pub const LISTEN_BACKLOG: i32 = 4096;
/// Events taken from epoll at a time.
pub const EPOLL_EVENTS: usize = 256;

/// A key seals at most this much before it is ratcheted: far below AES-GCM's 2^38.5 bytes and 2^32 frames.
pub const REKEY_BYTES: u64 = 8 << 30;
pub const REKEY_FRAMES: u64 = 1 << 24;
pub const REKEY_AGE: Duration = Duration::from_secs(600);
/// A carrier that has carried this much, or is this old, is replaced when its flow ends: fresh ephemeral keys.
pub const RETIRE_BYTES: u64 = 64 << 30;
pub const RETIRE_AGE: Duration = Duration::from_secs(3600);

/// Peer ids and service ids on the wire, bytes. A peer id has 52, a ULID 26.
pub const NAME_BYTES_MAX: usize = 128;
/// TCP connect and handshake of a carrier together; for strangers, all the time they get.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// The next address of a peer is tried when this one has not answered within this (RFC 8305 says 250 ms).
pub const ADDRESS_STAGGER: Duration = Duration::from_millis(250);
/// Connections on the data port that have not proven who they are: in all, and from one address (IPv6: one /64).
pub const STRANGERS_MAX: usize = 2048;
pub const STRANGERS_PER_ADDRESS_MAX: usize = 256;
/// Carriers that one worker may have in the making per peer: 16 workers together stay within what the other side allows.
pub const CONNECTING_MAX: usize = 16;
/// Warm carriers per peer and worker: at least, at most, and how long a surplus is kept.
pub const IDLE_MIN: usize = 2;
pub const IDLE_MAX: usize = 512;
pub const IDLE_SHRINK_EVERY: Duration = Duration::from_secs(5);
/// Flows that may wait for a carrier in the making, per peer and worker.
pub const WAITING_FLOWS_MAX: usize = 2048;
/// How long after a failure a peer is tried again: doubled each time, with half of it random.
pub const BACKOFF_MIN: Duration = Duration::from_millis(200);
pub const BACKOFF_MAX: Duration = Duration::from_secs(15);

/// How long a destination may take to answer.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections that find out whether a destination answers this host's own address: at a time, per service, and how
/// long each may take.
pub const PROBES_MAX: usize = 16;
pub const PROBES_EVERY: Duration = Duration::from_secs(60);
pub const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
/// After a reset the carrier is kept if the other side confirms within this.
pub const RESET_CONFIRM_TIMEOUT: Duration = Duration::from_secs(2);
/// A peer that has acknowledged nothing for so long, though something waits for it, is gone.
pub const SILENCE_MAX: Duration = Duration::from_secs(9);
/// Keepalive of carriers, seconds: noticed after 5 + 3 × 2.
pub const CARRIER_KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(5), Duration::from_secs(2), 3);
/// Keepalive of clients and destinations once a flow is older than `KEEPALIVE_AFTER`: their own does not reach through us.
pub const PLAIN_KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(60), Duration::from_secs(20), 4);
pub const KEEPALIVE_AFTER: Duration = Duration::from_secs(30);
/// How often deadlines are looked at.
pub const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// How often pools that wait for something are looked at.
pub const POOL_TICK: Duration = Duration::from_millis(50);
/// A worker confirms a new state within this or the engine is broken.
pub const APPLY_TIMEOUT: Duration = Duration::from_secs(5);
/// Workers tell their flows within this, or the list goes without them.
pub const FLOWS_TIMEOUT: Duration = Duration::from_millis(500);
/// When the ports that the kernel gives out are used up, so many others are tried before it is given up; of the highest
/// number of connections, 63,000 to one address and port, one try in 40 still finds a free one.
pub const PORT_TRIES: usize = 64;
pub const FIRST_UNPRIVILEGED_PORT: u16 = 1024;
