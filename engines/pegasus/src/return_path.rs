//! Whether what destinations answer to a client's own address comes back through this host.
//!
//! 1. A dial with a client's address got no answer in time: the destination is down, or its answers go another way.
//! 2. The same destination is asked from this host's own address. It answers that: the answers go another way.
//! 3. The next dial with a client's address that is answered proves the opposite.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use rustix::{io::Errno, net::getpeername, net::sockopt::socket_error};
use serde::Serialize;
use socket2::Socket;

use crate::{
    limits::{PROBE_TIMEOUT, PROBES_EVERY, PROBES_MAX},
    service::Service,
    slots::Key,
    worker::Worker,
};

/// A flow's two ends for whom answers took another way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Lost {
    pub client: SocketAddr,
    pub destination: SocketAddr,
}

/// What is known of one service's answers.
#[derive(Debug, Default)]
pub struct ReturnPath(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    lost: Option<Lost>,
    asked: Option<Instant>,
}

impl ReturnPath {
    pub fn lost(&self) -> Option<Lost> {
        self.known().lost
    }

    /// The service does not show clients' addresses (any more).
    pub fn forget(&self) {
        *self.known() = Known::default();
    }

    fn may_ask(&self, now: Instant) -> bool {
        let mut known = self.known();
        let due = known.asked.is_none_or(|asked| now.duration_since(asked) >= PROBES_EVERY);
        if due {
            known.asked = Some(now);
        }
        due
    }

    /// True when it was not known.
    fn lose(&self, lost: Lost) -> bool {
        self.known().lost.replace(lost).is_none()
    }

    /// True when it was thought to be lost.
    fn find(&self) -> bool {
        let mut known = self.known();
        known.asked = None;
        known.lost.take().is_some()
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection from this host's own address, made to see whether the destination answers at all.
pub struct Probe {
    socket: Socket,
    service: Arc<Service>,
    ends: Lost,
    started: Instant,
}

impl Worker {
    /// The flow's destination has answered, be it with a refusal.
    pub fn destination_answered(&mut self, key: Key) {
        let Some(flow) = self.flows.get(key) else { return };
        if flow.has_clients_address() && flow.service.return_path.find() {
            control::log::info(
                "answers to clients' addresses come back",
                &[("service_id", &flow.service.id), ("destination", &flow.destination)],
            );
        }
    }

    /// The flow's destination has not answered in time.
    pub fn destination_silent(&mut self, key: Key) {
        let Some(flow) = self.flows.get(key) else { return };
        if !flow.has_clients_address() || self.probes.len() >= PROBES_MAX || !flow.service.return_path.may_ask(self.now)
        {
            return;
        }
        let ends = Lost { client: flow.client, destination: flow.destination };
        let Ok(socket) = crate::dial::socket(ends.destination, self.config.bypass_mark) else { return };
        if crate::dial::connect(&socket, ends.destination).is_ok() {
            self.probes.push(Probe { socket, service: flow.service.clone(), ends, started: self.now });
        }
    }

    /// Once a second: what the probes have heard. One that was answered is reset, so that the destination forgets it.
    pub fn sweep_probes(&mut self) {
        let now = self.now;
        self.probes.retain(|probe| {
            let answered = probe.answered();
            if answered && probe.service.return_path.lose(probe.ends) {
                control::log::warn(
                    "a destination answers this host but not its clients' addresses: its answers go another way",
                    &[
                        ("service_id", &probe.service.id),
                        ("client", &probe.ends.client),
                        ("destination", &probe.ends.destination),
                    ],
                );
            }
            if answered {
                let _ = probe.socket.set_linger(Some(std::time::Duration::ZERO));
            }
            !answered && now.duration_since(probe.started) < PROBE_TIMEOUT
        });
    }
}

impl Probe {
    fn answered(&self) -> bool {
        match socket_error(&self.socket) {
            Ok(Err(error)) => error == Errno::CONNREFUSED || error == Errno::CONNRESET,
            _ => getpeername(&self.socket).is_ok(),
        }
    }
}
