//! One peer's handshakes and timers (WireGuard paper, 5.4 and 6). Only the keeper's thread is here.
//!
//! ```text
//!            a packet, keepalive, old keys                 response
//!   idle ───────────────────────────────▶ asking ──────────────────────────▶ idle, session
//!    ▲                                    │  ▲ │ no answer: next endpoint, later and later
//!    │                                    │  └─┘
//!    └────────────────────────────────────┘ no answer for 90 s (and no keepalive), or the peer's own session is in use
//! ```
//! Answering a peer's initiation is apart from this: it makes a session at once, which is used when the peer uses it.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use crate::{
    clock::{self, Millis},
    cookie::Stamp,
    limits::{ATTEMPTS_UNTIL_DOWN, HANDSHAKE_JITTER_MAX_MS, HANDSHAKE_RETRY_FIRST, INITIATION_INTERVAL_MIN},
    message::{CookieReply, DATA_OVERHEAD_BYTES, INITIATION, INITIATION_BYTES, MACS_BYTES, RESPONSE, RESPONSE_BYTES},
    noise::{Consumed, Identity, Initiated, PublicKey},
    session::Session,
    timing::Timing,
    tunnel::Tunnel,
};

/// Sends one datagram; nobody waits for it.
pub trait Wire {
    fn send(&self, message: &[u8], to: &SocketAddr);
}

pub struct Peer {
    pub tunnel: Arc<Tunnel>,
    pub keepalive_ms: Millis,
    /// It does not know this host's newest key yet.
    pub use_key_before: bool,
    /// Its keys, the newest first, with what is put on messages for each.
    keys: Vec<(PublicKey, Stamp)>,
    /// Own and its public key, as of the last look for newer ones.
    pair: Option<(PublicKey, PublicKey)>,
    endpoints: Vec<SocketAddr>,
    asking: Option<Asking>,
    /// Of the peer's initiations: the newest timestamp, and when it came.
    timestamp: [u8; 12],
    initiated_at: Millis,
    /// What the agent was last told.
    said: Option<bool>,
}

struct Asking {
    initiated: Initiated,
    index: u32,
    attempt: u32,
    since: Millis,
    retry_at: Millis,
}

/// What there is to tell the agent.
#[derive(Debug, PartialEq, Eq)]
pub enum News {
    Up(SocketAddr),
    Down(String),
}

/// Why an initiation was not answered.
#[derive(Debug, PartialEq, Eq)]
pub enum NotAnswered {
    Replayed,
    TooSoon,
    Broken,
}

impl Peer {
    pub fn new(tunnel: Arc<Tunnel>, public_key: PublicKey) -> Self {
        Self {
            tunnel,
            keepalive_ms: 0,
            use_key_before: false,
            keys: vec![(public_key, Stamp::new(&public_key))],
            pair: None,
            endpoints: Vec::new(),
            asking: None,
            timestamp: [0; 12],
            initiated_at: 0,
            said: None,
        }
    }

    pub fn public_keys(&self) -> impl Iterator<Item = &PublicKey> {
        self.keys.iter().map(|(key, _)| key)
    }

    pub fn has_key(&self, key: &PublicKey) -> bool {
        self.public_keys().any(|one| one == key)
    }

    /// Keys that it may prove to have. Those that stay keep the cookies they got.
    pub fn set_keys(&mut self, newest: PublicKey, before: Option<PublicKey>) {
        let mut known = std::mem::take(&mut self.keys);
        for key in [Some(newest), before].into_iter().flatten() {
            let at = known.iter().position(|(one, _)| *one == key);
            self.keys.push(at.map_or_else(|| (key, Stamp::new(&key)), |at| known.swap_remove(at)));
        }
    }

    /// Whether a handshake begun now would be made with other keys than before; asked once it is true no more.
    pub fn has_newer_keys(&mut self, identity: &Identity) -> bool {
        let pair = self.public_keys().next().map(|newest| (identity.public, *newest));
        let before = std::mem::replace(&mut self.pair, pair);
        before.is_some() && before != pair
    }

    /// Where the peer may be found. One it was found at stays while it serves.
    pub fn set_endpoints(&mut self, endpoints: Vec<SocketAddr>) {
        if self.tunnel.endpoint().is_none() {
            self.tunnel.set_endpoint(endpoints.first().copied());
        }
        self.endpoints = endpoints;
    }

    /// The index of the initiation that waits for its response.
    pub fn asking_index(&self) -> Option<u32> {
        self.asking.as_ref().map(|asking| asking.index)
    }

    /// Begins a handshake, unless one runs.
    pub fn ask(&mut self, identity: &Identity, index: u32, wire: &impl Wire, timing: &Timing, now: Millis) {
        if self.asking.is_none() {
            self.initiate(identity, index, wire, timing, 0, now, now);
        }
    }

    /// Sends the initiation of one more attempt. Without anywhere to send it the handshake ends.
    #[allow(clippy::too_many_arguments)]
    fn initiate(
        &mut self,
        identity: &Identity,
        index: u32,
        wire: &impl Wire,
        timing: &Timing,
        attempt: u32,
        since: Millis,
        now: Millis,
    ) {
        self.asking = None;
        let to = self.candidate(attempt);
        let Some((key, stamp)) = self.keys.first_mut() else { return };
        let sent = to.zip(identity.initiate(key, &clock::tai64n()));
        let Some((to, (initiated, noise))) = sent else { return self.tunnel.activity.handshake_ended() };
        let mut message = [0; INITIATION_BYTES];
        message[..4].copy_from_slice(&INITIATION.to_le_bytes());
        message[4..8].copy_from_slice(&index.to_le_bytes());
        message[8..INITIATION_BYTES - MACS_BYTES].copy_from_slice(&noise);
        stamp.put(&mut message, now);
        wire.send(&message, &to);
        self.tunnel.activity.sent(false, now);
        let pause = (HANDSHAKE_RETRY_FIRST.as_millis() as Millis) << attempt.min(8);
        let retry_at = now + pause.min(timing.rekey_timeout_ms) + jitter();
        self.asking = Some(Asking { initiated, index, attempt, since, retry_at });
    }

    /// Where the peer was last, then each place it may be, over and over.
    fn candidate(&self, attempt: u32) -> Option<SocketAddr> {
        let last = self.tunnel.endpoint();
        let others = self.endpoints.iter().copied().filter(|&endpoint| Some(endpoint) != last);
        let all: Vec<_> = last.into_iter().chain(others).collect();
        all.get(attempt as usize % all.len().max(1)).copied()
    }

    /// The peer asks. Returns the session and the answer, which is to be sent once the session can be found.
    pub fn answer(
        &mut self,
        consumed: Consumed,
        theirs: u32,
        own: u32,
        now: Millis,
    ) -> Result<(Session, [u8; RESPONSE_BYTES]), NotAnswered> {
        if consumed.timestamp <= self.timestamp {
            return Err(NotAnswered::Replayed);
        }
        let too_soon = INITIATION_INTERVAL_MIN.as_millis() as Millis;
        if self.initiated_at != 0 && now.saturating_sub(self.initiated_at) < too_soon {
            return Err(NotAnswered::TooSoon);
        }
        self.timestamp = consumed.timestamp;
        self.initiated_at = now;
        let proven = consumed.peer;
        let (noise, keys) = consumed.respond().ok_or(NotAnswered::Broken)?;
        let session = Session::new(&keys, own, theirs, false, now).ok_or(NotAnswered::Broken)?;
        let mut message = [0; RESPONSE_BYTES];
        message[..4].copy_from_slice(&RESPONSE.to_le_bytes());
        message[4..8].copy_from_slice(&own.to_le_bytes());
        message[8..12].copy_from_slice(&theirs.to_le_bytes());
        message[12..RESPONSE_BYTES - MACS_BYTES].copy_from_slice(&noise);
        let (_, stamp) = self.keys.iter_mut().find(|(key, _)| *key == proven).ok_or(NotAnswered::Broken)?;
        stamp.put(&mut message, now);
        Ok((session, message))
    }

    /// The peer answers. None: not to what was asked.
    pub fn finish(&mut self, theirs: u32, noise: &[u8; 48], now: Millis) -> Option<Session> {
        let asking = self.asking.as_mut()?;
        let keys = asking.initiated.finish(noise)?;
        let session = Session::new(&keys, asking.index, theirs, true, now)?;
        self.asking = None;
        Some(session)
    }

    pub fn take_cookie(&mut self, reply: &CookieReply<'_>, now: Millis) -> bool {
        self.keys.iter_mut().any(|(_, stamp)| stamp.take(reply, now))
    }

    /// A session is in use, by whoever's handshake.
    pub fn established(&mut self) -> Option<News> {
        self.asking = None;
        self.tunnel.activity.handshake_ended();
        self.tunnel.counters.handshake_at_ms.store(clock::unix_ms(), Relaxed);
        let endpoint = self.tunnel.endpoint()?;
        (self.said.replace(true) != Some(true)).then_some(News::Up(endpoint))
    }

    /// Looks at every timer. `index` is a free one. Returns indices of sessions that are over, and news.
    pub fn tick(
        &mut self,
        identity: &Identity,
        index: u32,
        wire: &impl Wire,
        timing: &Timing,
        now: Millis,
    ) -> (Vec<u32>, Option<News>) {
        let gone = self.expire(timing, now);
        if let Some(asking) = &self.asking {
            if now < asking.retry_at {
                return (gone, None);
            }
            let (attempt, since) = (asking.attempt + 1, asking.since);
            let given_up = now.saturating_sub(since) >= timing.rekey_attempt_ms;
            if given_up {
                let dropped = self.tunnel.sender().staged.clear();
                self.tunnel.drop_packets(dropped);
            }
            if given_up && self.keepalive_ms == 0 {
                self.asking = None;
                self.tunnel.activity.handshake_ended();
            } else {
                let since = if given_up { now } else { since };
                self.initiate(identity, index, wire, timing, attempt, since, now);
            }
            return (gone, self.unanswered(attempt));
        }
        if self.needs_handshake(timing, now) {
            self.ask(identity, index, wire, timing, now);
        } else if self.needs_keepalive(timing, now) {
            self.keepalive(wire, timing, now);
        }
        (gone, None)
    }

    fn unanswered(&mut self, attempts: u32) -> Option<News> {
        if attempts < ATTEMPTS_UNTIL_DOWN || self.said == Some(false) {
            return None;
        }
        self.said = Some(false);
        let tried: Vec<_> = self.endpoints.iter().map(SocketAddr::to_string).collect();
        let last = self.tunnel.endpoint().map_or_else(String::new, |endpoint| endpoint.to_string());
        let places = if tried.is_empty() { last } else { tried.join(", ") };
        Some(News::Down(format!(
            "no answer to {attempts} handshakes from {places}; is the peer up, and UDP to it let through?"
        )))
    }

    fn needs_handshake(&self, timing: &Timing, now: Millis) -> bool {
        let activity = &self.tunnel.activity;
        let silence = timing.keepalive_timeout_ms + timing.rekey_timeout_ms;
        if activity.wants_handshake() || activity.is_unanswered_for(silence, now) {
            return true;
        }
        let sender = self.tunnel.sender();
        match &sender.key {
            // Nobody sends under these keys any more, but the peer does: new ones before they expire (paper, 6.2).
            Some(key) => {
                let last_chance = timing.reject_after_ms.saturating_sub(silence);
                let heard = now.saturating_sub(activity.received_at()) < timing.keepalive_timeout_ms;
                key.initiator && heard && now.saturating_sub(key.born) >= last_chance
                    || self.keepalive_ms > 0 && key.wants_rekey(timing, now)
            }
            None => self.keepalive_ms > 0 && now.saturating_sub(activity.last()) >= self.keepalive_ms,
        }
    }

    fn needs_keepalive(&self, timing: &Timing, now: Millis) -> bool {
        let activity = &self.tunnel.activity;
        activity.is_unacknowledged_for(timing.keepalive_timeout_ms, now)
            || self.keepalive_ms > 0 && now.saturating_sub(activity.last()) >= self.keepalive_ms
    }

    /// Sends an empty packet, if there is a session.
    pub fn keepalive(&self, wire: &impl Wire, timing: &Timing, now: Millis) {
        let Some(endpoint) = self.tunnel.endpoint() else { return };
        let mut message = [0; DATA_OVERHEAD_BYTES];
        let mut sender = self.tunnel.sender();
        let key = sender.key.as_mut().filter(|key| key.is_usable(timing, now));
        if key.is_some_and(|key| key.seal(&mut message)) {
            wire.send(&message, &endpoint);
            self.tunnel.activity.sent(false, now);
        }
    }

    fn expire(&self, timing: &Timing, now: Millis) -> Vec<u32> {
        let gone = self.tunnel.receiver().expire(timing, now);
        let mut sender = self.tunnel.sender();
        sender.key.take_if(|key| !key.is_usable(timing, now));
        gone
    }
}

fn jitter() -> Millis {
    let mut bytes = [0; 8];
    // Without entropy all retries come at the same time, which is no harm.
    let _ = getrandom::fill(&mut bytes);
    u64::from_le_bytes(bytes) % HANDSHAKE_JITTER_MAX_MS
}
