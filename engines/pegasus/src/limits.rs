//! Bounds of the TCP data plane, each with its reason.

use std::time::Duration;

/// Longest payload of one frame, bytes. Longer frames make a slow wire wait, shorter ones cost more per byte.
pub const FRAME_PAYLOAD_BYTES_MAX: usize = 64 << 10;
/// Most that the kernel sends as one packet, which the device or the next host's kernel takes apart: 64 KiB with the room that it
/// keeps for headers. What one write has beyond whole packets goes as one more, a small one.
pub const PACKET_BYTES_MAX: usize = (64 << 10) - 321;
/// Most that one read takes, bytes: four full frames. One bulk flow, CPU seconds per GB of both engines: 0.53 with 64 KiB,
/// 0.50 with 128 KiB, 0.48 with 256 KiB.
pub const READ_BYTES: usize = 4 * FRAME_PAYLOAD_BYTES_MAX;
/// What a flow takes per read while its other side does not keep up, bytes: bounds what waits in memory.
pub const READ_BYTES_STALLED: usize = FRAME_PAYLOAD_BYTES_MAX;
/// What one flow moves before the others have their turn, bytes.
pub const TURN_BYTES: usize = 1 << 20;
/// So long the end of a flow waits for the next flow on its carrier, to go in one segment: with 32 short flows at a time a segment,
/// its acknowledgement and a wake-up less for each. Only when the other direction is over, so that nobody waits for it but the
/// destination's clean-up.
pub const FIN_HELD_FOR: Duration = Duration::from_millis(5);
/// Connections taken from one listener before the flows have their turn.
pub const ACCEPTS_PER_TURN: usize = 64;
/// Connections the kernel keeps for us while we are busy.
pub const LISTEN_BACKLOG: i32 = 4096;
/// Datagrams taken from the engine after this one before the flows have their turn.
pub const RELAYED_PER_TURN: usize = 256;
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
/// How long after a failure a peer is tried again: doubled each time, with half of it random. What was away for long is back
/// within the longest one, at the price of a SYN per address.
pub const BACKOFF_MIN: Duration = Duration::from_millis(200);
pub const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// So long after carriers to a peer were lost its engine may be starting again, and a new peer may not know this host yet:
/// new flows wait for it, and it is tried often.
pub const RESTART_GRACE: Duration = Duration::from_secs(3);

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
/// How often engines that have both flows of limited services tell each other how many of theirs wait: so long a rate may be
/// exceeded when flows begin to wait at one of them. Without limits it is only looked whether there are some now.
pub const NEIGHBOURS_TALK_EVERY: Duration = Duration::from_millis(20);
pub const NEIGHBOURS_TALK_SELDOM: Duration = Duration::from_millis(500);
/// A hand-over takes milliseconds; longer than this, and the other engine is broken.
pub const NEIGHBOUR_TIMEOUT: Duration = Duration::from_secs(2);
/// Workers tell their flows within this, or the list goes without them.
pub const FLOWS_TIMEOUT: Duration = Duration::from_millis(500);
/// When the ports that the kernel gives out are used up, so many others are tried before it is given up; of the highest
/// number of connections, 63,000 to one address and port, one try in 40 still finds a free one.
pub const PORT_TRIES: usize = 64;
pub const FIRST_UNPRIVILEGED_PORT: u16 = 1024;

/// KCP. A datagram that every IPv6 wire takes (1,280 − 48), and the longest that is tried: 1,500 − 48.
pub const DATAGRAM_BYTES_MIN: usize = 1232;
pub const DATAGRAM_BYTES_MAX: usize = 1452;
/// How often the longest is tried per carrier, and after how many timeouts in a row the shorter one is used again.
pub const DATAGRAM_TRIALS: u32 = 3;
pub const TIMEOUTS_BEFORE_SMALLER: u32 = 3;
/// Datagrams sealed under one handshake: far below what AES-GCM allows one key with this much in each (2^36 × 1,452 B).
pub const DATAGRAMS_MAX: u64 = 1 << 36;
/// What a conversation holds for a reader: at first, and at most when the reader keeps up with a long fast wire. The
/// largest takes 330 Mbit/s over 100 ms.
pub const WINDOW_BYTES_MIN: u64 = 256 << 10;
pub const WINDOW_BYTES_MAX: u64 = 4 << 20;
/// What comes out of order is kept in pieces: a full window of datagrams needs fewer.
pub const PIECES_MAX: usize = 8192;
/// Pieces in a row are joined up to this, bytes.
pub const PIECE_BYTES: usize = 8 << 10;
/// What waits to be sent or acknowledged: twice what the path takes, within these.
pub const SEND_BUFFER_BYTES_MIN: usize = 128 << 10;
pub const SEND_BUFFER_BYTES_MAX: usize = 4 << 20;
/// Under way before anything is measured (RFC 6928 says 10 segments, KCP's own default is 32), and at least.
pub const INITIAL_WINDOW_BYTES: usize = 32 * DATAGRAM_BYTES_MIN;
pub const WINDOW_BYTES_LEAST: usize = 4 * DATAGRAM_BYTES_MAX;
/// Sent at once without pacing, bytes.
pub const BURST_BYTES_MIN: usize = 16 << 10;
/// The part of a flight that may be lost without it being taken for congestion. BBR v2 says 2 %; the wires that KCP is for lose more by themselves.
pub const LOSS_TOLERATED: f64 = 0.1;
pub const INITIAL_ROUND_TRIP: Duration = Duration::from_millis(100);
/// A single datagram is acknowledged within this; two, or one out of order, at once.
pub const ACK_DELAY: Duration = Duration::from_millis(5);
/// Longest pause between probes while nothing is heard.
pub const PROBE_TIMEOUT_MAX: Duration = Duration::from_secs(1);
/// A conversation that has heard nothing for so long is over. Where only one way is cut, the other side may find out only
/// from our silence, when the word that it is over is lost: both together within 15 s.
pub const KCP_SILENCE_MAX: Duration = Duration::from_secs(7);
/// An idle conversation asks for a sign of life after this, then so often: eight times before it is given up.
pub const KCP_PING_AFTER: Duration = Duration::from_secs(3);
pub const KCP_PING_EVERY: Duration = Duration::from_millis(500);
/// A hello is said again after this when nothing is heard, then after twice that, up to eight times.
pub const HELLO_AGAIN: Duration = Duration::from_millis(200);
/// How often a responder may ask for another cookie.
pub const RETRIES_MAX: u32 = 3;
/// The network says that nobody listens at the other side: how often that is asked about, and for how long before it is
/// believed. An answer proves it wrong.
pub const KCP_DOUBT_EVERY: Duration = Duration::from_millis(100);
pub const KCP_DOUBT_FOR: Duration = Duration::from_millis(500);
/// Datagrams that the kernel takes with one call.
pub const SEGMENTS_MAX: usize = 32;
/// A socket without room is tried again after this.
pub const SEND_AGAIN: Duration = Duration::from_millis(1);
/// A flow that waits for room is woken when there is this much.
pub const WAKE_ROOM_BYTES: usize = 32 << 10;
/// Buffers of a UDP socket in the kernel, bytes: a burst at 1 Gbit/s while a worker is busy for 10 ms, counted as the
/// kernel counts, which is twice.
pub const UDP_BUFFER_BYTES: usize = 2 << 20;
/// Handshakes that a worker does per second for strangers (each costs four curve operations, some 0.2 ms in all).
pub const HANDSHAKES_PER_SECOND: u32 = 1000;
/// Words of forgotten conversations that a worker says per second, and the least that asks for one: never more out than in.
pub const GONE_PER_SECOND: u32 = 1000;
pub const GONE_ASKED_BYTES_MIN: usize = 33;
/// After a drain: how long last words are sent again before they are given up.
pub const LAST_WORDS: Duration = Duration::from_millis(500);
