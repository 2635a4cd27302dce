//! What strangers sent and was refused: counted per reason without a lock, said at most once per reason and minute.

use std::{
    net::SocketAddr,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use control::Events;
use serde::Serialize;

use crate::{clock::Millis, limits::REFUSED_LINE_EVERY};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Not a WireGuard message.
    Garbage,
    /// A handshake message by somebody who does not know our key.
    WrongMac,
    /// Well made, by a key that no tunnel has.
    UnknownPeer,
    /// An initiation that is not newer than the last.
    ReplayedHandshake,
    /// A handshake message that does not open.
    BadHandshake,
    /// Under load: asked to prove the address first.
    CookieAsked,
    /// More handshakes than can be looked at.
    Flood,
    UnknownSession,
    BadPacket,
    Replay,
}

const REASONS: [(Reason, &str); 10] = [
    (Reason::Garbage, "garbage"),
    (Reason::WrongMac, "wrong_mac"),
    (Reason::UnknownPeer, "unknown_peer"),
    (Reason::ReplayedHandshake, "replayed_handshake"),
    (Reason::BadHandshake, "bad_handshake"),
    (Reason::CookieAsked, "cookie_asked"),
    (Reason::Flood, "flood"),
    (Reason::UnknownSession, "unknown_session"),
    (Reason::BadPacket, "bad_packet"),
    (Reason::Replay, "replay"),
];

#[derive(Default)]
pub struct Refusals {
    slots: [Slot; REASONS.len()],
}

#[derive(Default)]
struct Slot {
    count: AtomicU64,
    said: AtomicU64,
    said_at: AtomicU64,
    /// The latest, for the line; skipped when somebody else is just writing it.
    from: Mutex<Option<(SocketAddr, Option<String>)>>,
}

#[derive(Serialize)]
struct Line<'a> {
    peer_id: Option<String>,
    address: String,
    reason: &'a str,
    count: u64,
}

impl Refusals {
    /// `peer_id` where the sender claims a session of that peer's.
    pub fn count(&self, reason: Reason, from: SocketAddr, peer_id: Option<&str>) {
        let slot = &self.slots[reason as usize];
        let counted = slot.count.fetch_add(1, Relaxed);
        // One address per line is enough, so most refusals cost one addition.
        if counted == slot.said.load(Relaxed)
            && let Ok(mut latest) = slot.from.try_lock()
        {
            *latest = Some((from, peer_id.map(str::to_owned)));
        }
    }

    pub fn total(&self) -> u64 {
        self.slots.iter().map(|slot| slot.count.load(Relaxed)).sum()
    }

    /// Sends the lines that are due. One thread calls this.
    pub fn say(&self, events: &Events, now: Millis) {
        for (slot, (_, reason)) in self.slots.iter().zip(REASONS) {
            let (count, said) = (slot.count.load(Relaxed), slot.said.load(Relaxed));
            let said_at = slot.said_at.load(Relaxed);
            let every = REFUSED_LINE_EVERY.as_millis() as Millis;
            if count == said || (said_at != 0 && now.saturating_sub(said_at) < every) {
                continue;
            }
            let latest = slot.from.try_lock().ok().and_then(|mut latest| latest.take());
            let (address, peer_id) = latest.map_or_else(Default::default, |(from, peer)| (from.to_string(), peer));
            events.send("refused", Line { peer_id, address, reason, count: count - said });
            slot.said.store(count, Relaxed);
            slot.said_at.store(now, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_stand_at_their_own_place() {
        for (place, (reason, _)) in REASONS.iter().enumerate() {
            assert_eq!(*reason as usize, place);
        }
    }
}
