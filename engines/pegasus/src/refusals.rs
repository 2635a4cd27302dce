//! What was refused, counted, and told at most once per reason and minute.

use std::{
    net::SocketAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use control::{Events, LineRate};
use serde::Serialize;

pub struct Refusals {
    rate: Mutex<LineRate>,
    events: Events,
}

#[derive(Serialize)]
struct Refused<'a> {
    peer_id: Option<&'a str>,
    address: SocketAddr,
    reason: &'static str,
    count: u64,
}

impl Refusals {
    pub fn new(events: Events) -> Self {
        Self { rate: Mutex::default(), events }
    }

    pub fn count(&self, peer_id: Option<&str>, address: SocketAddr, reason: &'static str, now: Instant) {
        let said = self.rate().count(reason, now);
        if let Some(count) = said {
            self.events.send("refused", Refused { peer_id, address, reason, count });
            control::log::warn(
                "refused",
                &[("reason", &reason), ("address", &address), ("peer_id", &peer_id), ("count", &count)],
            );
        }
    }

    pub fn total(&self) -> u64 {
        self.rate().total()
    }

    fn rate(&self) -> MutexGuard<'_, LineRate> {
        self.rate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
