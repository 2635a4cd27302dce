//! Events on their way to the agent: a bounded ring that any thread may fill and only the control thread empties.
//! While no client takes them the newest are kept and the lost ones counted.

use std::{
    collections::VecDeque,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustix::event::{EventfdFlags, eventfd};
use serde::Serialize;

use crate::limits::EVENTS_KEPT_MAX;

/// The sending end. Cheap to clone; sending never waits.
#[derive(Clone)]
pub struct Events(Arc<Shared>);

struct Shared {
    ring: Mutex<Ring>,
    wake: OwnedFd,
}

#[derive(Default)]
struct Ring {
    lines: VecDeque<String>,
    dropped: u64,
}

#[derive(Serialize)]
struct EventLine<'a, F: Serialize> {
    r#type: &'static str,
    event: &'a str,
    #[serde(flatten)]
    fields: F,
}

impl Events {
    pub(crate) fn new() -> rustix::io::Result<Self> {
        let wake = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        Ok(Self(Arc::new(Shared { ring: Mutex::default(), wake })))
    }

    /// Sends `{"type":"event","event":NAME, …fields}`. `fields` is a struct of plain values.
    pub fn send(&self, name: &str, fields: impl Serialize) {
        let line = match serde_json::to_string(&EventLine { r#type: "event", event: name, fields }) {
            Ok(line) => line,
            Err(error) => {
                return crate::log::warn(
                    "an event could not be written",
                    &[("event", &name), ("error", &error.to_string())],
                );
            }
        };
        let mut ring = self.ring();
        if ring.lines.len() == EVENTS_KEPT_MAX {
            ring.lines.pop_front();
            ring.dropped += 1;
        }
        ring.lines.push_back(line);
        let first = ring.lines.len() == 1;
        drop(ring);
        if first {
            // Full (u64::MAX - 1) cannot happen and would wake as well.
            let _ = rustix::io::write(&self.0.wake, &1u64.to_ne_bytes());
        }
    }

    /// Everything that waits, oldest first.
    pub(crate) fn take(&self) -> VecDeque<String> {
        std::mem::take(&mut self.ring().lines)
    }

    pub(crate) fn waiting(&self) -> bool {
        !self.ring().lines.is_empty()
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.ring().dropped
    }

    pub(crate) fn wake_fd(&self) -> BorrowedFd<'_> {
        self.0.wake.as_fd()
    }

    pub(crate) fn clear_wake(&self) {
        let _ = rustix::io::read(&self.0.wake, &mut [0u8; 8]);
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        // Nothing in here can leave the ring half changed.
        self.0.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Numbered {
        number: usize,
    }

    #[test]
    fn the_newest_are_kept_and_the_lost_counted() {
        let events = Events::new().unwrap();
        for number in 0..EVENTS_KEPT_MAX + 3 {
            events.send("counted", Numbered { number });
        }
        assert_eq!(events.dropped(), 3);
        let lines = events.take();
        assert_eq!(lines.len(), EVENTS_KEPT_MAX);
        assert_eq!(lines[0], r#"{"type":"event","event":"counted","number":3}"#);
        assert!(!events.waiting());
    }
}
