//! A peer as all workers see it: key, addresses, and whether carriers to it work.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed},
    },
};

use control::Events;
use serde::Serialize;

use crate::state::Transport;

/// By which transport, to whom.
pub type Road = (Transport, Arc<str>);

/// What the state says of a peer, for one transport.
#[derive(Debug)]
pub struct Peer {
    pub id: Arc<str>,
    pub transport: Transport,
    pub public_key: [u8; 32],
    /// The one before, while the peer changes its key.
    pub public_key_before: Option<[u8; 32]>,
    /// It does not know our newest key yet.
    pub use_key_before: bool,
    /// In order of preference.
    pub addresses: Vec<SocketAddr>,
    /// Kept across generations while the peer stays.
    pub health: Arc<Health>,
}

#[derive(Debug, Default)]
pub struct Health {
    pub idle: AtomicI64,
    pub busy: AtomicI64,
    /// Carriers that we have made and that work now.
    pub alive: AtomicI64,
    /// Counts the times that silence was noticed, so that every worker looks at its own carriers.
    pub suspicions: AtomicU64,
    up: AtomicBool,
    said: Mutex<Said>,
}

#[derive(Debug, Default, Clone)]
struct Said {
    /// None before the first attempt has ended.
    up: Option<bool>,
    address: Option<SocketAddr>,
    error: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct PeerStats {
    pub peer_id: Arc<str>,
    pub transport: Transport,
    /// `up`, `down`, or `unknown` before it was tried.
    pub state: &'static str,
    pub carriers_idle: i64,
    pub carriers_busy: i64,
    pub address: Option<SocketAddr>,
    pub error: Option<String>,
}

#[derive(Serialize)]
struct PeerEvent<'a> {
    peer_id: &'a str,
    transport: Transport,
    state: &'static str,
    address: Option<SocketAddr>,
    error: Option<&'a str>,
}

impl Peer {
    pub fn road(&self) -> Road {
        (self.transport, self.id.clone())
    }

    /// Keys that it may prove to have; the newest first.
    pub fn public_keys(&self) -> impl Iterator<Item = &[u8; 32]> {
        [&self.public_key].into_iter().chain(&self.public_key_before)
    }

    /// Carriers by this transport were made or tried, or are there.
    pub fn is_in_use(&self) -> bool {
        let Health { idle, busy, .. } = &*self.health;
        self.said().up.is_some() || idle.load(Relaxed) > 0 || busy.load(Relaxed) > 0
    }

    /// A carrier works. Says so when that is news.
    pub fn up(&self, address: SocketAddr, events: &Events) {
        if self.health.up.swap(true, Relaxed) {
            return;
        }
        let mut said = self.said();
        *said = Said { up: Some(true), address: Some(address), error: None };
        events.send("peer", self.event("up", Some(address), None));
        control::log::info("peer up", &[("peer_id", &self.id), ("address", &address)]);
    }

    /// No address works. Says so when that is news, and when no other worker has a carrier that does.
    pub fn down(&self, address: Option<SocketAddr>, error: &str, events: &Events) {
        if self.health.alive.load(Relaxed) > 0 {
            return;
        }
        self.health.up.store(false, Relaxed);
        let mut said = self.said();
        let news = said.up != Some(false);
        *said = Said { up: Some(false), address, error: Some(error.to_owned()) };
        if news {
            events.send("peer", self.event("down", address, Some(error)));
            control::log::warn("peer down", &[("peer_id", &self.id), ("address", &address), ("error", &error)]);
        }
    }

    pub fn stats(&self) -> PeerStats {
        let said = self.said().clone();
        PeerStats {
            peer_id: self.id.clone(),
            transport: self.transport,
            state: said.up.map_or("unknown", |up| if up { "up" } else { "down" }),
            carriers_idle: self.health.idle.load(Relaxed),
            carriers_busy: self.health.busy.load(Relaxed),
            address: said.address,
            error: said.error,
        }
    }

    fn event<'a>(&'a self, state: &'static str, address: Option<SocketAddr>, error: Option<&'a str>) -> PeerEvent<'a> {
        PeerEvent { peer_id: &self.id, transport: self.transport, state, address, error }
    }

    fn said(&self) -> std::sync::MutexGuard<'_, Said> {
        self.health.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
