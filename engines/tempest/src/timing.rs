//! WireGuard's times and counts (paper, 6.1) as values, so that a test can have a day in a second.

use crate::clock::Millis;

#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// An initiator makes new keys once its own are this old and used.
    pub rekey_after_ms: Millis,
    /// Nothing is sent or received under keys this old.
    pub reject_after_ms: Millis,
    /// Without an answer for this long and without new packets, a handshake is given up.
    pub rekey_attempt_ms: Millis,
    /// Longest time between two initiations of one handshake.
    pub rekey_timeout_ms: Millis,
    /// Who has received and has nothing to send says so after this long.
    pub keepalive_timeout_ms: Millis,
    pub rekey_after_messages: u64,
    pub reject_after_messages: u64,
}

impl Timing {
    pub const WIREGUARD: Self = Self {
        rekey_after_ms: 120_000,
        reject_after_ms: 180_000,
        rekey_attempt_ms: 90_000,
        rekey_timeout_ms: 5_000,
        keepalive_timeout_ms: 10_000,
        rekey_after_messages: 1 << 60,
        reject_after_messages: u64::MAX - (1 << 13),
    };
}
