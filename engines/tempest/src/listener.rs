//! The port that peers send to: opened as wanted, given to the workers, tried again while it cannot be had.

use std::{net::SocketAddr, sync::Arc, thread, time::Duration};

use control::log;

use crate::{
    clock::Millis,
    limits::LISTEN_RETRY,
    peer::Wire,
    udp::{self, Sockets},
    worker::{Mailbox, Order},
};

/// Workers close a port they gave up within moments; this long is waited for it.
const CLOSE_WAIT: Duration = Duration::from_millis(5);
const CLOSE_WAITS: usize = 10;

pub struct Listener {
    workers: Vec<Mailbox>,
    wanted: Option<(SocketAddr, u32)>,
    /// One of the workers' sockets, for handshakes and keepalives.
    open: Vec<Arc<Sockets>>,
    tried_at: Millis,
}

/// Sends over the open port, or nowhere.
pub struct OpenWire(Option<Arc<Sockets>>);

impl Listener {
    pub fn new(workers: Vec<Mailbox>) -> Self {
        Self { workers, wanted: None, open: Vec::new(), tried_at: 0 }
    }

    pub fn want(&mut self, listen: SocketAddr, mark: u32) -> Result<(), String> {
        let before = self.wanted.replace((listen, mark));
        if !self.open.is_empty() {
            match before {
                Some((address, _)) if address == listen => {
                    return self
                        .open
                        .iter()
                        .try_for_each(|sockets| sockets.set_mark(mark))
                        .map_err(|error| format!("cannot mark packets: {error}; it takes CAP_NET_ADMIN"));
                }
                _ => self.close(),
            }
        }
        self.open()
    }

    pub fn tick(&mut self, now: Millis) {
        let retry = LISTEN_RETRY.as_millis() as Millis;
        if self.open.is_empty() && self.wanted.is_some() && now.saturating_sub(self.tried_at) >= retry {
            self.tried_at = now;
            if self.open().is_ok() {
                log::info("listening at last", &[("port", &self.port())]);
            }
        }
    }

    pub fn port(&self) -> u16 {
        self.open.first().map_or(0, |sockets| sockets.port())
    }

    pub fn wire(&self) -> OpenWire {
        OpenWire(self.open.first().cloned())
    }

    fn open(&mut self) -> Result<(), String> {
        let Some((listen, mark)) = self.wanted else { return Ok(()) };
        let mut tries = 0;
        let opened = loop {
            match udp::open(listen, mark, self.workers.len()) {
                Ok(opened) => break opened,
                Err(error) if error.kind() == std::io::ErrorKind::AddrInUse && tries < CLOSE_WAITS => {
                    tries += 1;
                    thread::sleep(CLOSE_WAIT);
                }
                Err(error) => {
                    return Err(format!(
                        "cannot listen on UDP {listen}: {error}; free the port or choose another (it is tried again)"
                    ));
                }
            }
        };
        self.open = opened.into_iter().map(Arc::new).collect();
        for (worker, sockets) in self.workers.iter().zip(&self.open) {
            worker.send(Order::Sockets(Some(sockets.clone())));
        }
        Ok(())
    }

    fn close(&mut self) {
        self.open.clear();
        for worker in &self.workers {
            worker.send(Order::Sockets(None));
        }
    }
}

impl OpenWire {
    pub fn send_to(&self, message: &[u8], to: &SocketAddr) {
        if let Some(sockets) = &self.0 {
            sockets.send(message, to);
        }
    }
}

impl Wire for OpenWire {
    fn send(&self, message: &[u8], to: &SocketAddr) {
        self.send_to(message, to);
    }
}
