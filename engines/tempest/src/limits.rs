//! Every bound of this engine, each with its reason.

use std::time::Duration;

/// WireGuard packets in one UDP_SEGMENT send: the kernel took 64 until 6.9, and more gains nothing measurable.
pub const SEGMENTS_PER_SEND_MAX: usize = 64;
/// Bytes in one UDP_SEGMENT send: the largest UDP payload over IPv4 is 65,507.
pub const SEND_BYTES_MAX: usize = 65_000;
/// Sealed bytes that wait in a worker before it calls the kernel: what stays in a core's second-level cache.
pub const OUTBOX_BYTES: usize = 192 * 1024;
/// Messages of one sendmmsg.
pub const SENDS_PER_CALL_MAX: usize = 16;
/// How long a worker waits for a full socket buffer before it drops: longer would stall the other direction.
pub const SEND_WAIT_MS: i32 = 10;

/// Datagrams of one recvmmsg; each may hold a UDP_GRO run of up to 64 KiB.
pub const RECEIVES_PER_CALL_MAX: usize = 8;
pub const RECEIVE_BUFFER_BYTES: usize = 65_536;
/// Super-packets read from one device before the worker looks at its other work.
pub const READS_PER_TURN_MAX: usize = 32;
/// recvmmsg calls in a row before the worker looks at its other work.
pub const RECEIVE_CALLS_PER_TURN_MAX: usize = 4;
/// Largest packet a TUN device hands over (a 64 KiB super-packet and its vnet header).
pub const DEVICE_READ_BYTES: usize = 65_536 + 64;

/// Flows that one receive batch puts together at a time; the oldest is written when one more comes.
pub const COALESCE_FLOWS_MAX: usize = 16;
/// Segments of one super-packet towards the device: the kernel's UDP limit, and more than 64 KiB of TCP need.
pub const COALESCE_SEGMENTS_MAX: usize = 64;

/// Packets kept per tunnel while its handshake runs, and their bytes: enough for the first flight of a few flows.
pub const STAGED_PACKETS_MAX: usize = 128;
pub const STAGED_BYTES_MAX: usize = 256 * 1024;

/// Keys that one tunnel receives under. As a rule it has two, each for three minutes; handshakes that cross make two at a
/// time, and a key of two handshakes ago may still be in use. Some 2 kB each.
pub const RECEIVE_KEYS_MAX: usize = 8;

/// Handshake messages that wait for the keeper. A flood beyond this is dropped before it costs anything.
pub const HANDSHAKES_WAITING_MAX: usize = 1024;
/// From this many waiting on, initiations without a cookie get one instead of an answer (as wireguard-go: an eighth).
pub const HANDSHAKES_UNDER_LOAD: usize = HANDSHAKES_WAITING_MAX / 8;
/// Load is assumed to go on for this long after the queue was last that full.
pub const UNDER_LOAD_FOR: Duration = Duration::from_secs(1);
/// Initiations that prove knowledge of our key, without a cookie, answered per second before cookies are asked for:
/// each costs about 0.2 ms of X25519, so this is a tenth of a core.
pub const INITIATIONS_PER_SECOND_MAX: u32 = 500;
/// A peer's initiations closer together than this are ignored (the WireGuard paper's flood rule).
pub const INITIATION_INTERVAL_MIN: Duration = Duration::from_millis(20);

/// Cookies and the secret behind them live this long (WireGuard paper, 5.4.7).
pub const COOKIE_LIFE: Duration = Duration::from_secs(120);

/// How often timers are looked at. WireGuard's own are in seconds.
pub const TICK: Duration = Duration::from_millis(100);
/// How often the engine looks for a device that is missing.
pub const DEVICE_RETRY: Duration = Duration::from_millis(250);

/// First retries come faster than WireGuard's 5 s, so that a restarted peer or a lost packet costs a second.
pub const HANDSHAKE_RETRY_FIRST: Duration = Duration::from_secs(1);
/// Random part of each retry, so that two peers do not go on colliding (paper, 6.4).
pub const HANDSHAKE_JITTER_MAX_MS: u64 = 333;
/// Unanswered attempts after which a tunnel is said to be down.
pub const ATTEMPTS_UNTIL_DOWN: u32 = 3;

/// Socket buffers: a burst of 8 MiB is 30 ms at 2 Gbit/s.
pub const SOCKET_BUFFER_BYTES: usize = 8 << 20;

/// One line per reason and this long in `refused` events.
pub const REFUSED_LINE_EVERY: Duration = Duration::from_secs(60);

/// Tunnels of one engine: the design's 1,000 peers with room; the descriptors of devices are what ends first.
pub const TUNNELS_MAX: usize = 4096;
/// More workers than this only wait for each other.
pub const WORKERS_MAX: usize = 16;
/// How often a port that could not be had is tried again.
pub const LISTEN_RETRY: Duration = Duration::from_secs(1);
/// A drain ends once nothing was carried for this long.
pub const DRAIN_SILENCE: Duration = Duration::from_millis(500);
