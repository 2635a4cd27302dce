//! The two times of this engine: milliseconds of a monotonic clock for timers, and TAI64N for the handshake.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds since the host started; never 0, which the timers use for "not yet".
pub type Millis = u64;

/// The kernel's coarse clock: a few nanoseconds to read, right to about 4 ms.
pub fn now() -> Millis {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for the call; this clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &mut time) };
    (time.tv_sec as u64 * 1000 + time.tv_nsec as u64 / 1_000_000).max(1)
}

pub fn unix_ms() -> u64 {
    since_epoch().as_millis() as u64
}

/// Label of an initiation (paper, 5.1): only its order matters. The low bits are cut so that it does not give away the
/// exact clock of this host.
pub fn tai64n() -> [u8; 12] {
    const TAI64_BASE: u64 = 0x4000_0000_0000_000a;
    let now = since_epoch();
    let mut stamp = [0; 12];
    stamp[..8].copy_from_slice(&(TAI64_BASE + now.as_secs()).to_be_bytes());
    stamp[8..].copy_from_slice(&(now.subsec_nanos() & !0xff_ffff).to_be_bytes());
    stamp
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
