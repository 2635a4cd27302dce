//! A successor is at work (see `succession`): this worker takes nothing new, and carries what it has to its end.
//!
//! ```text
//! at work ─(lend: a successor is starting)→ at work, without the door ─(leave: it is at work)→ leaving
//!    ▲                                                │                                           │
//!    └───────────────(stay: it is gone)───────────────┴───────────────────────────────────────────┘
//! ```
//! Leaving: flows go on, and so do those that peers open on carriers they still have to us. Peers are asked for others in
//! their place; our own are closed as they become free. Listening sockets are kept, unwatched: a successor that dies leaves
//! nobody waiting.

use std::os::fd::OwnedFd;

use rustix::event::epoll::{self, EventData, EventFlags};

use crate::{
    carrier::{Carrier, Phase},
    frame::Kind,
    slots::{Key, Token},
    worker::Worker,
};

/// Which successor a worker is told about: word of one that is gone already means nothing.
pub type Successor = u64;

#[derive(Default)]
pub struct Leaving {
    successor: Option<Successor>,
    at_work: bool,
}

impl Worker {
    /// The successor is at work.
    pub fn is_leaving(&self) -> bool {
        self.leaving.at_work
    }

    pub fn lend(&mut self, successor: Successor, relay: Option<OwnedFd>) {
        self.leaving.successor = Some(successor);
        if let Some(relay) = relay {
            self.lend_door(relay);
        }
    }

    pub fn leave(&mut self, successor: Successor) {
        if self.leaving.successor != Some(successor) || self.leaving.at_work {
            return;
        }
        self.leaving.at_work = true;
        for (_, listener) in self.listeners.iter() {
            let _ = epoll::delete(&self.epoll, &listener.fd);
        }
        self.wind_pools_down();
        for key in self.carriers.keys(|carrier| !carrier.ours) {
            self.ask_to_retire(key);
        }
    }

    pub fn stay(&mut self, successor: Successor) {
        if self.leaving.successor != Some(successor) {
            return;
        }
        self.take_door_back();
        self.leaving.successor = None;
        if !std::mem::replace(&mut self.leaving.at_work, false) {
            return;
        }
        for (key, listener) in self.listeners.iter() {
            let data = EventData::new_u64(Token::Listener(key).encode());
            if let Err(error) = epoll::add(&self.epoll, &listener.fd, data, EventFlags::IN) {
                control::log::error("a listener cannot be watched", &[("error", &error.to_string())]);
            }
        }
        self.adjust_pools();
    }

    /// Nothing is left that anybody here or elsewhere waits for.
    pub fn has_left(&self) -> bool {
        self.is_leaving() && self.flows.is_empty() && self.carriers.is_empty()
    }

    /// READY once proves who it is, each further one is a level of the protocol.
    pub fn heard_ready(&mut self, key: Key) {
        let Some(carrier) = self.carriers.get_mut(key) else { return };
        carrier.readies = carrier.readies.saturating_add(1);
        if self.is_leaving() {
            self.ask_to_retire(key);
        }
    }

    /// A peer's carrier. One of a build that does not know the word is kept until it is worn.
    fn ask_to_retire(&mut self, key: Key) {
        let Some(carrier) = self.carriers.get_mut(key) else { return };
        if carrier.retired || !knows_retire(carrier) {
            return;
        }
        carrier.retired = true;
        if let Err(broken) = carrier.send_control(Kind::Retire, &[]) {
            self.lose_carrier(key, &broken.0);
        }
    }

    /// RETIRE on a carrier of ours.
    pub fn asked_to_retire(&mut self, key: Key) -> Result<(), &'static str> {
        if self.carriers.get(key).is_some_and(|carrier| !carrier.ours) {
            return Err("a RETIRE where none may be");
        }
        self.retire_carrier(key);
        Ok(())
    }
}

fn knows_retire(carrier: &Carrier) -> bool {
    carrier.readies > 1 && matches!(carrier.phase, Phase::Idle | Phase::Busy | Phase::Confirming)
}
